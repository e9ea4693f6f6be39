"""A flow run that another one, perhaps of another process, shows as its child.

Prefect ties a child to a task run of its parent, which follows the child's state. It makes both by
itself only where the parent's context is at hand, which it is not in a process of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Pending

__all__ = ["create_run"]


def create_run(
    client: SyncPrefectClient,
    flow: Flow[..., Any],
    *,
    title: str,
    tags: Sequence[str] = (),
    parent_run: str | None = None,
) -> FlowRun:
    """Create the run of a flow on a server, to be run by :func:`prefect.flow_engine.run_flow`.

    Parameters
    ----------
    title
        Name of the run, on one line.
    parent_run
        Identifier of the flow run that it is a part of. Where the server does not know that, the
        run has no parent.

    Raises
    ------
    httpx.HTTPError
        If the server does not take it.
    """
    parent_task = None if parent_run is None else _stand_in(client, flow, title, parent_run)
    return client.create_flow_run(
        flow, name=title, tags=tags, parent_task_run_id=parent_task, state=Pending()
    )


def _stand_in(
    client: SyncPrefectClient, flow: Flow[..., Any], title: str, parent_run: str
) -> uuid.UUID | None:
    """Create the task run of the parent that stands for a child; None without a parent."""
    try:
        parent = client.read_flow_run(uuid.UUID(parent_run))
    except ObjectNotFound:
        return None
    # A session that is tried again is another child.
    task: Task[..., Any] = Task(_nothing, name=flow.name, cache_policy=NO_CACHE)
    made = client.create_task_run(
        task, flow_run_id=parent.id, dynamic_key=str(uuid.uuid4()), name=title, state=Pending()
    )
    return made.id


def _nothing() -> None:
    """Stand for the child, which works elsewhere."""
