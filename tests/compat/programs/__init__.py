"""Programs that use a service by published clients. They run in environments of those, and import nothing of ours."""
