"""Formulas as MathML, which browsers show and screen readers read without scripts from elsewhere."""

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml


def inline(writer, node):
    """Write a formula in a line of text."""
    writer.body.append(spaced(tex2mathml(node.astext())))
    raise SkipNode


def block(writer, node):
    """Write a formula that stands by itself."""
    writer.body.append(f'<div class="formula">{spaced(tex2mathml(node.astext(), as_block=True))}</div>')
    raise SkipNode


def spaced(formula):
    """Set names of functions, such as log, apart from their arguments."""
    return formula.replace("<mo>&ApplyFunction;</mo>", '<mo lspace="0" rspace="0.17em">&ApplyFunction;</mo>')


def setup(app):
    """Tell Sphinx of this way to write formulas, named "mathml"."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True}
