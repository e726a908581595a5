"""Something outside: tool backends, models, search services, object stores; each behind a small Protocol."""
