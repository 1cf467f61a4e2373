"""A run's numbers beside a paper's, as text."""

import pandas as pd


def pair(ours: float | None, theirs: float | None, digits: str = ".4f") -> str:
    """Return ``ours / theirs``, with a dash for a number that does not exist."""
    return " / ".join(f"{number:{digits}}" if pd.notna(number) else "-" for number in (ours, theirs))


def lines(title: str, rows: list[dict[str, str]]) -> str:
    """Return a title, and below it the names of the columns and the rows, aligned."""
    table = pd.DataFrame(rows)
    width = {name: max(len(name), table[name].str.len().max()) for name in table}
    cells = [dict(zip(table, table, strict=True)), *rows]
    texts = ["  ".join(f"{row[name]:<{width[name]}}" for name in table).rstrip() for row in cells]
    return "\n".join([title, *(f"  {text}" for text in texts)])
