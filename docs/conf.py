"""
How Sphinx builds these pages: Markdown as it stands, no code of ours.

Every warning is an error (`make docs`, tests/docs): a link to a page, a
heading or a file that is not there fails the build.
"""

from importlib import metadata

project = "wasm-node"
version = release = metadata.version("wasm-node")
project_copyright = "The wasm-node authors, Apache-2.0"

extensions = ["myst_parser"]
myst_heading_anchors = 3
nitpicky = True

html_theme = "furo"
html_title = f"wasm-node {release}"
html_copy_source = False
