"""`python -I .../extract FILE FOLDER`: write the text of FILE to FOLDER/text, and what is wrong to FOLDER/error."""

import importlib.util
import sys
from pathlib import Path

if __name__ == "__main__":
    # By path: nothing here depends on where the interpreter looks for modules.
    here = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        "workbench_extract", here / "__init__.py", submodule_search_locations=[str(here)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{here} is no package")
    sys.modules["workbench_extract"] = importlib.util.module_from_spec(spec)
    importlib.import_module("workbench_extract.reader").main(Path(sys.argv[1]), Path(sys.argv[2]))
