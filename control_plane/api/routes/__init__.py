"""The API's routes, a module per page of the console."""
