"""A run as one static HTML page: values (`model`), what happened when (`chart`), and their markup. Pure: values in, text out.

Not here: where any of it comes from (`runner.api.report`). Nothing of a manifest or a run ever becomes a tag, an attribute's name, a
class, a style or a script: all of it goes through `markup`. The page asks nobody for anything and is read without a script.
"""

from runner.reporters.page.document import page

__all__ = ["page"]
