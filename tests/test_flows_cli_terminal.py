"""What a command shows on terminals of any width."""

from __future__ import annotations

import pytest
from rich.table import Table

from flows.cli.terminal import Screen


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_a_table_keeps_its_figures_on_narrow_terminals(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    table = Table(title="a song: 3 tracks")
    for heading in ("stem", "tracks", "level LU", "intended LU", "compression dB"):
        table.add_column(heading)
    table.add_row("lead_vocals", "3", "-12.5", "-11.5", "2.5")
    Screen(quiet=False, verbose=False, as_json=False).table(table)
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert all(cell in shown for cell in ("3 tracks", "lead_vocals", "-12.5", "-11.5", "2.5"))
    if columns < 80:
        row = "lead_vocals: tracks 3, level LU -12.5, intended LU -11.5, compression dB 2.5"
        assert row in shown.splitlines()
