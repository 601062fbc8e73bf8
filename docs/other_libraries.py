"""Links to pages of other libraries, made from names alone: unlike intersphinx, this needs no network in a build."""

from docutils.nodes import reference

PAGES = {
    "scipy": "https://docs.scipy.org/doc/scipy/reference/generated/{}.html",
    "sklearn": "https://scikit-learn.org/stable/modules/generated/{}.html",
    "torch": "https://docs.pytorch.org/docs/stable/generated/{}.html",
}


def resolve(app, env, node, content):
    """Return a link for a class or a function of another library, None for any other name."""
    target = node.get("reftarget", "")
    page = PAGES.get(target.split(".")[0])
    if page is None or node.get("reftype") not in ("class", "func"):
        return None
    return reference("", "", content, internal=False, refuri=page.format(target))


def setup(app):
    """Tell Sphinx of it."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True}
