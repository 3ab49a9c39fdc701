"""What ``lab doctor`` looks at; each check yields findings and mends with ``fix`` what can be mended."""
