"""Helper calls on the controller's side: policy, budget, concurrency, audit, dispatch."""
