"""Pieces: a CSV file cut into parts, each small enough for one request to a daemon.

Room: cli.
"""

import csv
import io
from collections.abc import Callable, Iterator
from typing import TextIO

from mtad.cli.common import Problem

_PIECE = 200_000  # characters


def pieces_of(file: TextIO, names_columns: Callable[[list[str]], bool]) -> Iterator[tuple[int, str]]:
    """(lines before it, a part of the file). If the first row names the columns, it stands before every part.

    An empty file is one empty part. Raises Problem where it is no CSV, and no text.
    """
    reader = csv.reader(file)
    piece, header, before, first = io.StringIO(), "", 0, True
    try:
        for cells in reader:
            csv.writer(piece).writerow(cells)
            if first and any(cells):
                first = False
                if names_columns(cells):
                    header = piece.getvalue()
            elif piece.tell() > _PIECE:
                yield before, piece.getvalue()
                piece, before = io.StringIO(), reader.line_num - bool(header)
                piece.write(header)
    except csv.Error as error:
        raise Problem(f"{file.name}, line {reader.line_num}: {error}") from None
    except UnicodeDecodeError:  # what is read ahead ends within a line, so it cannot be told which
        raise Problem(
            f"{file.name}, behind line {reader.line_num}: this is not UTF-8; save the file as UTF-8 and import it again"
        ) from None
    if before == 0 or piece.tell() > len(header):
        yield before, piece.getvalue()
