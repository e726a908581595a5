"""Measurements that are not part of the product: beside other published systems, in one run."""
