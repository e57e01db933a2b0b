"""Measurements that no notebook makes."""
