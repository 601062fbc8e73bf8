"""What all pictures share: matplotlib, which is optional, and colours that colour-blind people can tell apart."""

from typing import Any

BLUE, ORANGE = "#0072B2", "#D55E00"  # These colours are from the palette of Okabe and Ito.

Style = dict[str, Any] | None


def pyplot(display: str) -> Any:
    """Import matplotlib, or tell that a display needs it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"{display} needs matplotlib: pip install sknvp[plot].") from error
    return plt


def styled(style: Style, **defaults: Any) -> dict[str, Any]:
    """Return keywords for matplotlib; those of a user, by any of their names, replace the defaults."""
    from matplotlib import cbook
    from matplotlib.lines import Line2D

    return {**defaults, **cbook.normalize_kwargs(style or {}, Line2D)}
