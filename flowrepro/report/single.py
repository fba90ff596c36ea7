"""The addresses of a page that is one file: they hold what they lead to."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

Link = Callable[[Path], str]

# widths and qualities of pictures; the first with which all of them fit is taken
SIZES = ((1400, 72), (1200, 62), (1000, 55), (850, 45))
# bytes of the whole file, for mail and forums
LIMIT = 4_900_000
# the curves of runs are drawn on the page, and arrays and vector graphics are too large (tables are in table.csv alone)
LEFT_OUT = ("figure.svg", "figure.pdf", "arrays.npz", "curves.csv")
KINDS = {".csv": "text/csv", ".json": "application/json"}


def one_file(pictures: list[Path], render: Callable[[Link], str]) -> str:
    """The page that `render` writes from the addresses of files, its pictures as large as the limit allows."""
    rest = render(lambda file: "" if file in pictures else _text(file))
    return render(inside(pictures, LIMIT - len(rest.encode())))


def inside(pictures: list[Path], room: int) -> Link:
    """The function from a file to an address that holds its content; these `pictures` become WebPs of `room` bytes.

    They are larger if `room` is less than the smallest need.
    """
    for width, quality in SIZES:
        shrunk = {picture: _in_base64("image/webp", smaller(picture, width, quality)) for picture in pictures}
        if sum(map(len, shrunk.values())) <= room:
            break
    return lambda file: shrunk[file] if file in shrunk else _text(file)


def smaller(picture: Path, width: int, quality: int) -> bytes:
    """A picture as WebP, at most `width` pixels wide."""
    from PIL import Image

    image = Image.open(picture).convert("RGB")
    image.thumbnail((width, 10 * width))
    written = io.BytesIO()
    image.save(written, "webp", quality=quality, method=4)
    return written.getvalue()


def _text(file: Path) -> str:
    """A table or a record, in the shorter of two encodings."""
    kind, content = KINDS[file.suffix], file.read_bytes()
    return min(f"data:{kind},{quote(content, safe=',:;/()[]')}", _in_base64(kind, content), key=len)


def _in_base64(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
