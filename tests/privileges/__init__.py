"""Least privilege, shown: each statement of each policy was the only one to allow something that was really asked for."""
