"""The version of the lab that this console belongs to."""

VERSION = "0.1.0"
