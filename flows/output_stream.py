"""Standard output and error that may break, be full or know few letters, and never end a run."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import IO, Any, cast

__all__ = ["LastingStream", "lasting"]


class LastingStream:
    """A text stream that raises nothing: what cannot be written is lost, and why is kept.

    Parameters
    ----------
    name
        ``"stdout"`` or ``"stderr"``: whichever ``sys`` has under that name when it is written to.
    stream
        A stream to write to instead.

    Attributes
    ----------
    failure
        What went wrong first; None while all is well. Nothing more is tried after it.
    """

    def __init__(self, name: str = "stderr", stream: IO[str] | None = None) -> None:
        self._name, self._stream = name, stream
        self.failure: Exception | None = None
        self._lock = threading.Lock()

    @property
    def stream(self) -> Any:
        """The stream below, None where the process has none."""
        stream = getattr(sys, self._name) if self._stream is None else self._stream
        # While rich shows bars it stands before the stream itself, and would be asked by itself.
        return getattr(stream, "rich_proxied_file", stream)

    def write(self, text: str) -> int:
        """Write a text; letters that the stream's encoding lacks as escapes."""
        with self._lock:
            if self.failure is None and self.stream is not None:
                try:
                    self._write(text)
                except (OSError, ValueError) as error:
                    self.failure = error
        return len(text)

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
        except UnicodeEncodeError:
            encoding = getattr(self.stream, "encoding", None) or "ascii"
            self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def flush(self) -> None:
        """Hand on what is held back."""
        with self._lock:
            if self.failure is None and self.stream is not None:
                try:
                    self.stream.flush()
                except (OSError, ValueError) as error:
                    self.failure = error

    def isatty(self) -> bool:
        """Tell whether somebody sits before it."""
        try:
            return bool(self.stream.isatty())
        except (AttributeError, OSError, ValueError):
            return False

    def fileno(self) -> int:
        """Return the descriptor of the stream below.

        Raises
        ------
        OSError
            If it has none, or is closed.
        """
        try:
            return int(self.stream.fileno())
        except (AttributeError, ValueError) as error:
            raise OSError(str(error)) from error

    @property
    def encoding(self) -> str:
        """Name of the stream's encoding."""
        return getattr(self.stream, "encoding", None) or "ascii"

    def close_broken(self) -> None:
        """Have the interpreter not try again, at its end, to write what cannot be written."""
        if self.failure is None:
            return
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


def lasting(stream: IO[str] | LastingStream | None = None, *, name: str = "stderr") -> IO[str]:
    """Return a stream as one that never raises, typed as the libraries want it."""
    made = stream if isinstance(stream, LastingStream) else LastingStream(name, stream)
    return cast("IO[str]", made)
