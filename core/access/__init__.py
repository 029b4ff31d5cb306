"""Access: the keys of clients, their roles and quotas."""
