"""Asking a Prefect server over HTTP without loading Prefect; standard library alone."""

from __future__ import annotations

import base64
import http.client
import json
import os
import urllib.request
from typing import Any

__all__ = ["FINAL", "ask", "end_run"]

FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
_UNFINISHED = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]
_PAGE = 200


def ask(url: str, body: object = None, *, timeout_s: float = 10.0) -> Any:
    """Return the JSON answer of a Prefect server to a GET, or to a POST of ``body``.

    What opens a server that asks for a login is taken from the environment, as Prefect does it:
    ``PREFECT_API_AUTH_STRING`` or ``PREFECT_API_KEY``.

    Raises
    ------
    OSError
        If it does not answer, or with an error (``urllib.error.HTTPError``).
    ValueError
        If the answer is no JSON.
    """
    request = urllib.request.Request(url, headers=_login())
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    # A proxy is for what is far away; urllib reads the same variables as Prefect's client.
    handlers = [urllib.request.ProxyHandler({})] if _is_here(url) else []
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout_s) as answer:
            return json.loads(answer.read())
    except http.client.HTTPException as error:  # no answer as HTTP has it
        raise OSError(f"{url}: {type(error).__name__}: {error}") from error


def end_run(url: str, flow_run_id: str, message: str) -> int:
    """Mark a flow run that nobody works on any more as crashed, and its unfinished task runs.

    A flow run that has told how it ended keeps that.

    Returns
    -------
    int
        How many of its runs had been open.

    Raises
    ------
    OSError
        If the server does not answer; ``urllib.error.HTTPError`` with code 404 if it does not know
        the flow run.
    """
    order = {"state": {"type": "CRASHED", "name": "Crashed", "message": message}, "force": True}
    ended = 0
    if ask(f"{url}/flow_runs/{flow_run_id}").get("state_type") not in FINAL:
        ask(f"{url}/flow_runs/{flow_run_id}/set_state", order)
        ended += 1
    while True:
        unfinished = ask(
            f"{url}/task_runs/filter",
            {
                "flow_runs": {"id": {"any_": [flow_run_id]}},
                "task_runs": {"state": {"type": {"any_": _UNFINISHED}}},
                "limit": _PAGE,
            },
        )
        for run in unfinished:
            ask(f"{url}/task_runs/{run['id']}/set_state", order)
        ended += len(unfinished)
        if len(unfinished) < _PAGE:
            return ended


def _login() -> dict[str, str]:
    # A server of ours has the first in its own environment under the name for servers.
    for name in ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"):
        if os.environ.get(name):
            token = base64.b64encode(os.environ[name].encode()).decode("ascii")
            return {"Authorization": f"Basic {token}"}
    if os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {os.environ['PREFECT_API_KEY']}"}
    return {}


def _is_here(url: str) -> bool:
    return url.startswith(("http://127.", "http://localhost", "http://[::1]"))
