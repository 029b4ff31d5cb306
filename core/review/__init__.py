"""What people need to review labels: lists, queues, neighbours, comparisons."""
