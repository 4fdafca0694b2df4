"""The page as a PDF, for those who file and print: headline, overview, tables, settings."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import matplotlib as mpl
from PIL import Image as Pillow
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Image, LongTable, Paragraph, SimpleDocTemplate, Spacer, TableStyle

from fringemap.report.atomic import atomic_write
from fringemap.report.rendering import as_jpeg
from fringemap.report.words import RIVALS_AT_A_GLANCE, overlined_indices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_FONT, _BOLD = "DejaVuSans", "DejaVuSans-Bold"
_WIDTH = A4[0] - 30 * mm - 12
"""Between the margins, less the padding of the page's frame [pt]."""
_HEIGHT = A4[1] - 40 * mm
_GREY = colors.HexColor("#d0d7de")


@cache
def _register_fonts() -> None:
    # The standard fonts of PDF lack the superscripts, subscripts and overlines that planes and units need.
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for name in (_FONT, _BOLD):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    pdfmetrics.registerFontFamily(_FONT, normal=_FONT, bold=_BOLD, italic=_FONT, boldItalic=_BOLD)


def write_pdf(path: Path, values: Mapping[str, Any], images: Mapping[str, bytes]) -> None:
    """Write ``report.pdf``.

    Parameters
    ----------
    path
        Where it goes.
    values
        What the page shows, from `page_values`.
    images
        PNG of the figures by name: ``overview``, ``profile``, and ``evolution`` for a series.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    _register_fonts()
    stream = io.BytesIO()
    document = SimpleDocTemplate(
        stream,
        pagesize=A4,
        leftMargin=15 * mm,
        rightMargin=15 * mm,
        topMargin=15 * mm,
        bottomMargin=18 * mm,
        title=values["title"],
        creator=f"fringemap {values['version']}",
        invariant=1,
    )
    document.build(_story(values, images), onFirstPage=_foot(values), onLaterPages=_foot(values))
    with atomic_write(path) as temporary:
        temporary.write_bytes(stream.getvalue())


def _foot(values: Mapping[str, Any]) -> Any:
    text = f"{values['title']}  ·  fringemap {values['version']}"

    def draw(canvas: Any, document: Any) -> None:
        canvas.setFont(_FONT, 7)
        canvas.setFillColor(colors.HexColor("#57606a"))
        canvas.drawString(15 * mm, 10 * mm, text if len(text) < 110 else text[:108] + "…")
        canvas.drawRightString(A4[0] - 15 * mm, 10 * mm, f"page {document.page}")

    return draw


def _story(values: Mapping[str, Any], images: Mapping[str, bytes]) -> list[Any]:
    story = [_text(values["title"], 16, bold=True), _text(values["subtitle"], 8.5, grey=True)]
    story.append(_text(f"Pixel size {values['badge']['words']}.", 8.5, bold=True))
    story += [_text(sentence, 10) for sentence in values["headline"]]
    story += [_text(f"Note: {warning}.", 8.5) for warning in [*values["warnings"], *values["failures"]]]
    story += [Spacer(1, 3 * mm), _picture(images["overview"])]
    if "evolution" in images:
        story += [_heading("Phases over the series"), _picture(images["evolution"])]
    if "truth" in images:
        story += [_heading("Found beside true"), _picture(images["truth"])]
    where = f" in {values['shown']}" if values["series"] else ""
    story += [_heading(f"Phases{where}"), *_table(_PHASE_HEAD, map(_phase_row, values["phases"]), _PHASE_WIDTHS)]
    story += [_heading(f"Spots{where}"), *_table(_SPOT_HEAD, map(_spot_row, values["spots"]), _SPOT_WIDTHS)]
    if values["rings"]:
        rows = ([ring[key] for key in ("d", "g", "width", "contrast", "significance")] for ring in values["rings"])
        story += [_heading("Rings"), *_table(_RING_HEAD, rows, (1, 1, 1, 1, 1))]
    for group in values["provenance"]:
        story += [_heading(group["title"]), *_table(("", ""), group["entries"], (1, 2.2))]
    if values["glossary"]:
        story += [_heading("What the remarks mean"), *_table(("", ""), values["glossary"], (1, 3))]
    return story


def _text(text: str, size: float, *, bold: bool = False, grey: bool = False) -> Paragraph:
    style = ParagraphStyle(
        "text",
        fontName=_BOLD if bold else _FONT,
        fontSize=size,
        leading=1.35 * size,
        textColor=colors.HexColor("#57606a" if grey else "#1b1f24"),
        spaceAfter=2,
        splitLongWords=1,
    )
    return Paragraph(escape(str(text)), style)


def _heading(text: str) -> Paragraph:
    style = ParagraphStyle(
        "heading", fontName=_BOLD, fontSize=11, leading=15, spaceBefore=9, spaceAfter=3, keepWithNext=1
    )
    return Paragraph(escape(text), style)


def _picture(png: bytes) -> Image:
    with Pillow.open(io.BytesIO(png)) as image:
        width, height = image.size
    scale = min(_WIDTH / width, 0.78 * _HEIGHT / height)
    return Image(io.BytesIO(as_jpeg(png)), width=scale * width, height=scale * height)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], shares: Sequence[float]) -> list[Any]:
    body = [[_text(cell, 7) for cell in row] for row in rows]
    if not body:
        return [_text("None.", 8.5)]
    named = any(head)
    lines = [[_text(cell, 7, bold=True) for cell in head], *body] if named else body
    widths = [_WIDTH * share / sum(shares) for share in shares]
    style = [
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, _GREY),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 2),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
    ]
    return [LongTable(lines, colWidths=widths, repeatRows=1 if named else 0, style=TableStyle(style))]


_PHASE_HEAD = ("phase", "probability", "zone axis", "spots", "mean d (Å)", "area (%)", "intensity (× noise)", "doubts")
_PHASE_WIDTHS = (1.1, 1.1, 0.9, 0.6, 1.0, 1.2, 1.4, 2.6)
_SPOT_HEAD = ("spot", "phase", "plane", "d (Å)", "|g| (nm⁻¹)", "angle (°)", "SNR", "deviation (%)", "rivals", "remarks")
_SPOT_WIDTHS = (0.55, 1.0, 0.8, 1.7, 0.8, 0.8, 0.6, 1.1, 2.1, 1.9)
_RING_HEAD = ("d (Å)", "|g| (nm⁻¹)", "width (nm⁻¹)", "contrast (%)", "significance (sigma)")


def _phase_row(entry: Mapping[str, Any]) -> list[str]:
    zone = f"[{overlined_indices(entry['zone'])}]" if entry["zone"] else "–"
    keys = ("n_spots", "d_mean", "area", "intensity", "doubts")
    return [entry["text"], entry["probability"], zone, *(str(entry[key]) for key in keys)]


def _spot_row(entry: Mapping[str, Any]) -> list[str]:
    rivals = [f"{r['text']}{_plane(r['hkl'], ' ')} {r['deviation']}" for r in entry["rivals"]]
    more = len(rivals) - RIVALS_AT_A_GLANCE
    said = "; ".join(rivals[:RIVALS_AT_A_GLANCE] + ([f"and {more} more"] if more > 0 else [])) or "–"
    keys = ("d", "g", "angle", "snr", "deviation")
    values = [str(entry[key]) for key in keys]
    return [str(entry["row"]), entry["text"], _plane(entry["hkl"]) or "–", *values, said, entry["remarks"]]


def _plane(hkl: Sequence[int] | None, before: str = "") -> str:
    return f"{before}({overlined_indices(hkl)})" if hkl else ""
