"""The pages that people read, each one HTML file with its style and figures inside."""

from unlikelihood.report.comparison import Row, save_comparison
from unlikelihood.report.page import draft
from unlikelihood.report.single import draw, headline

__all__ = ["Row", "draft", "draw", "headline", "save_comparison"]
