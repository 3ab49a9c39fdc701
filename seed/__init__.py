"""What the lab writes into kept state after services are ready: tables, access data, loaded files."""
