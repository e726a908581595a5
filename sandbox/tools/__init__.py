"""The meta tools, one module each: typed arguments in, typed result out. No HTTP in here."""
