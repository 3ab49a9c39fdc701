"""The console's back end: signs people in, and asks every other service in the asking user's name."""
