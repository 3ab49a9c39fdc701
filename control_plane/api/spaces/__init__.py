"""What workspaces have in the console: connections, files on their way, ingests, registered tables."""
