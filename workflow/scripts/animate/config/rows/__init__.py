"""Rows that stand for several clips, and rows that take the result of another one."""
