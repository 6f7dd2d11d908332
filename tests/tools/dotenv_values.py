"""Prints the value that python-dotenv gives BRAND_NAME for each file, as JSON.

usage: dotenv_values.py < FILES, a JSON list of the files' contents
"""

import json
import os
import pathlib
import sys
import tempfile

import dotenv

with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / ".env"
    values = []
    for content in json.load(sys.stdin):
        path.write_bytes(content.encode())
        before = dict(os.environ)
        dotenv.load_dotenv(path)
        values.append(os.environ.get("BRAND_NAME", ""))
        os.environ.clear()
        os.environ.update(before)
    print(json.dumps(values))
