"""The addresses of a page that is one file: they hold what they lead to."""

import base64
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

# widths and qualities of pictures; the first with which all of them fit is taken
SIZES = ((1400, 72), (1200, 62), (1000, 55), (850, 45))
# bytes for all pictures of a file that is to stay under 5 MB
ROOM = 2_600_000
KINDS = {".csv": "text/csv", ".json": "application/json"}


def inside(pictures: Iterable[Path]) -> Callable[[Path], str]:
    """The function from a file to an address that holds its content; these `pictures` become smaller WebPs."""
    found = list(pictures)
    for width, quality in SIZES:
        shrunk = {picture: smaller(picture, width, quality) for picture in found}
        if sum(map(len, shrunk.values())) * 4 / 3 <= ROOM:
            break
    return lambda file: _in_base64("image/webp", shrunk[file]) if file in shrunk else _text(file)


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
