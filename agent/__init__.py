"""The agent: answers questions about the lab's tables with exactly the rights of whoever asks, over HTTP and
as an MCP server."""
