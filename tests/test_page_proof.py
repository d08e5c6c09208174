"""Pages and files have to prove that they differ: an API may ignore which one is asked for."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_nudgescribe.account import Account
from tap_nudgescribe.check import check
from tap_nudgescribe.client import NudgescribeClient
from tap_nudgescribe.customer_pages import customer_pages
from tap_nudgescribe.errors import ContractError, NotFoundError
from tap_nudgescribe.identities import Listing
from tap_nudgescribe.message_proof import NOWHERE
from tests.message_server import Content, MessageServer
from tests.sandbox import Fault, Sandbox, truth
from tests.tap_run import in_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Run
    from tests.sandbox.account import Campaign, Group


@pytest.fixture
def read(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> Callable[..., Run]:
    """Return a function that runs the tap in this process."""
    return in_process(sandbox, caplog)


@pytest.fixture
def client(sandbox: Sandbox) -> NudgescribeClient:
    return NudgescribeClient.from_config(sandbox.config)


def of_pages(sandbox: Sandbox, least: int) -> Group:
    """Return a group with at least so many pages."""
    account = sandbox.account
    size = account.page_size
    return next(g for g in account.groups.values() if len(g.customers) > size * (least - 1))


# Customers


@pytest.mark.parametrize("parallel", [1, 4])
def test_an_api_that_ignores_the_page_of_customers_fails_the_groups_that_have_several(
    read: Callable[..., Run], sandbox: Sandbox, parallel: int
) -> None:
    account = sandbox.account
    several = {
        g.customer_group_id for g in account.groups.values() if len(g.customers) > account.page_size
    }
    sandbox.inject(Fault("list_customers", "same_page", 9999))
    run = read(max_parallel_requests=parallel)
    assert run.code == 1
    assert "of customers are the same, so some are missing" in run.stderr
    assert "wire_names" in run.stderr
    assert set(run.state["bookmarks"]["customers"]["unfinished"]) == several
    sandbox.faults.clear()
    second = read(state=run.state)
    assert second.code == 0
    assert {r["customer_id"] for r in run.records("customers") + second.records("customers")} == {
        key[1] for key in truth.keys(account, "customers")
    }


def test_pages_that_are_counted_from_0_are_noticed(
    client: NudgescribeClient, sandbox: Sandbox
) -> None:
    group = of_pages(sandbox, 2)
    pages = -(-len(group.customers) // sandbox.account.page_size)

    def before(rows: Listing) -> Listing:
        return rows

    client_of_0 = ShiftedByOne(client, before)
    with pytest.raises(ContractError, match="no customers"):
        list(customer_pages(cast("NudgescribeClient", client_of_0), *ids_of(group)))
    assert pages > 1


def test_a_single_page_that_is_counted_from_0_is_noticed(
    client: NudgescribeClient, sandbox: Sandbox
) -> None:
    sandbox.account.page_size = 10_000
    shifted = cast("NudgescribeClient", ShiftedByOne(client, lambda rows: rows))
    with pytest.raises(ContractError, match="counts its pages from 0"):
        list(customer_pages(shifted, *ids_of(of_pages(sandbox, 0))))


class ShiftedByOne:
    """A client of an API whose first page is 0, and which answers an empty list behind the last."""

    def __init__(self, client: NudgescribeClient, change: Callable[[Listing], Listing]) -> None:
        self._client = client
        self._change = change
        self.options = client.options
        self.count_customer_pages = client.count_customer_pages

    def list_customers(self, workspace: str, group: str, page: int, **how: Any) -> Listing:
        try:
            return self._change(self._client.list_customers(workspace, group, page + 1, **how))
        except NotFoundError:
            return Listing()


def test_no_pages_are_counted_of_a_group_that_has_customers(
    client: NudgescribeClient, sandbox: Sandbox
) -> None:
    group = of_pages(sandbox, 1)
    sandbox.inject(Fault("count_customer_pages", "edited", 9999, edit=lambda _: {"pages": 0}))
    with pytest.raises(ContractError, match="counts no pages, and page 1 has customers"):
        list(customer_pages(client, *ids_of(group)))
    with pytest.raises(ContractError, match="its pages hold 0"):
        list(customer_pages(client, *ids_of(group), counted=len(group.customers)))
    empty = next(g for g in sandbox.account.groups.values() if not g.customers)
    assert not list(customer_pages(client, *ids_of(empty)))


def test_no_file_is_counted_of_a_campaign_that_has_one(
    read: Callable[..., Run], sandbox: Sandbox
) -> None:
    sandbox.inject(Fault("count_message_files", "edited", 9999, edit=lambda _: {"pages": 0}))
    run = read()
    assert run.code == 1
    assert "counts no message file" in run.stderr
    sandbox.faults.clear()
    second = read(state=run.state)
    assert second.code == 0, second.stderr
    assert second.keys("published_messages") == truth.keys(sandbox.account, "published_messages")


def test_a_list_that_says_that_there_is_more_is_sent_as_far_as_it_goes(
    read: Callable[..., Run], sandbox: Sandbox
) -> None:
    def part(groups: list[Any]) -> dict[str, Any]:
        return {"data": groups[:1], "total": len(groups)}

    several = [w for w in sandbox.account.workspaces if len(sandbox.account.groups_of(w)) > 1]
    sandbox.inject(Fault("list_groups", "edited", 9999, edit=part))
    run = read()
    assert run.code == 1
    assert "every further customer group" in run.stderr
    assert run.records("customer_groups")
    assert {f"workspace/{w}" for w in several} <= run.state["bookmarks"]["customers"][
        "unfinished"
    ].keys()
    sandbox.faults.clear()
    second = read(state=run.state)
    assert second.code == 0, second.stderr
    assert run.keys("customers") | second.keys("customers") == truth.keys(
        sandbox.account, "customers"
    )


def ids_of(group: Group) -> tuple[str, str]:
    return group.workspace_id, group.customer_group_id


@pytest.mark.parametrize("count", [0, None])
def test_an_empty_group_that_counts_a_page_is_empty(
    read: Callable[..., Run], sandbox: Sandbox, count: int | None
) -> None:
    empty = next(g for g in sandbox.account.groups.values() if not g.customers)

    def counts(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for group in groups:
            if group["customer_group_id"] == empty.customer_group_id:
                group["customer_count"] = count
        return groups

    sandbox.inject(
        Fault("list_groups", "edited", 9999, edit=counts),
        Fault(
            "count_customer_pages",
            "edited",
            9999,
            match=empty.customer_group_id,
            edit=lambda _: {"pages": 1},
        ),
    )
    run = read()
    assert run.code == 0, run.stderr
    assert run.keys("customers") == truth.keys(sandbox.account, "customers")


def test_a_page_that_is_empty_between_others_fails_the_group(
    read: Callable[..., Run], sandbox: Sandbox
) -> None:
    group = of_pages(sandbox, 3)
    sandbox.inject(Fault("list_customers", "edited", 9999, match='"page":2', edit=lambda _: []))
    sandbox.inject(Fault("list_customers", "edited", 9999, match='"page": 2', edit=lambda _: []))
    run = read()
    assert run.code == 1
    assert "A page that was counted has no customers" in run.stderr
    assert group.customer_group_id in run.state["bookmarks"]["customers"]["unfinished"]


def test_fewer_customers_than_the_group_counts_fail_it_until_they_are_there(
    read: Callable[..., Run], sandbox: Sandbox
) -> None:
    """The API says of a group with several pages that it has only one."""
    group = of_pages(sandbox, 2)
    sandbox.inject(
        Fault(
            "count_customer_pages",
            "edited",
            9999,
            match=group.customer_group_id,
            edit=lambda _: {"pages": 1},
        )
    )
    run = read()
    assert run.code == 1
    counted, size = len(group.customers), sandbox.account.page_size
    assert f"The group counts {counted} customers and its pages hold {size}" in run.stderr
    assert list(run.state["bookmarks"]["customers"]["unfinished"]) == [group.customer_group_id]
    sandbox.faults.clear()
    assert read(state=run.state).code == 0


def test_a_count_that_was_old_is_asked_for_again(
    read: Callable[..., Run], sandbox: Sandbox
) -> None:
    """Customers are deleted after the groups were listed and before their pages are read."""
    group = of_pages(sandbox, 2)

    def delete(_: object) -> None:
        for customer_id in list(group.customers)[:3]:
            del group.customers[customer_id]

    sandbox.inject(Fault("list_fields", "change", 1, then=delete, after=2))
    run = read()
    assert run.code == 0, run.stderr


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ("list_customers", "pages 1 and 2 hold the same customers"),
        ("fetch_message_file", "the same message file whichever file"),
    ],
)
def test_check_says_that_the_page_is_ignored(
    client: NudgescribeClient,
    sandbox: Sandbox,
    capsys: pytest.CaptureFixture[str],
    operation: str,
    words: str,
) -> None:
    campaign = next(c for c in sandbox.account.campaigns.values() if c.published_at)
    campaign.current_run.files *= 2
    campaign.current_run.revealed = 2
    assert check(Account(client)) == 0, capsys.readouterr().out
    sandbox.inject(Fault(operation, "same_page", 9999))
    assert check(Account(client)) == 1
    shown = capsys.readouterr().out
    assert re.search(f"{operation} +FAILS +The page is ignored: .*{words}", shown)
    assert "set wire_names" in shown


# Any group of pages, through a client that is none


class Pages:
    """A group whose pages are given; an API that may ignore which one is asked for."""

    options = SimpleNamespace(max_parallel_requests=1)

    def __init__(self, sizes: list[int], *, heeds: bool) -> None:
        self._heeds = heeds
        self._pages, first = [], 0
        for size in sizes:
            self._pages.append([{"customer_id": f"c{first + n}"} for n in range(size)])
            first += size
        self.count = first

    def count_customer_pages(self, *_: str) -> int:
        return len(self._pages)

    def list_customers(self, _ws: str, _group: str, page: int, **_: object) -> Listing:
        return Listing(self._pages[page - 1 if self._heeds else 0])

    def list_groups(self, *_: str, **__: object) -> Listing:
        return Listing([{"customer_group_id": "cg", "customer_count": self.count}])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.booleans(), st.booleans())
def test_all_customers_are_met_or_the_group_fails(
    sizes: list[int],
    heeds: bool,  # noqa: FBT001 (hypothesis)
    counts: bool,  # noqa: FBT001
) -> None:
    group = Pages(sizes, heeds=heeds)
    pages = customer_pages(
        cast("NudgescribeClient", group), "ws", "cg", counted=group.count if counts else None
    )
    met: set[str] = set()
    try:
        met.update(row["customer_id"] for page in pages for row in page)
    except ContractError:
        assert not heeds
    else:
        assert len(met) == group.count


# Message files

KINDS = (("fetch", ""), ("count", "s"))


@pytest.fixture
def published(sandbox: Sandbox) -> list[Campaign]:
    return [campaign for campaign in sandbox.account.campaigns.values() if campaign.published_at]


@pytest.mark.parametrize("parallel", [1, 4])
def test_an_api_that_ignores_the_number_of_a_file_fails_campaigns_with_several(
    read: Callable[..., Run], sandbox: Sandbox, published: list[Campaign], parallel: int
) -> None:
    several = {c.campaign_id for c in published if any(len(run.files) > 1 for run in c.runs)}
    sandbox.inject(Fault("fetch_message_file", "same_page", 9999))
    run = read(max_parallel_requests=parallel)
    assert run.code == 1
    assert "The API sends the same message file whichever file it is asked for" in run.stderr
    assert "key page probably has another name" in run.stderr
    unfinished = run.state["bookmarks"]["published_messages"]["unfinished"]
    assert set(unfinished) == several
    assert all(key[2] == 1 for key in run.keys("published_messages"))
    sandbox.faults.clear()
    second = read(state=run.state)
    assert second.code == 0
    assert run.keys("published_messages") | second.keys("published_messages") == truth.keys(
        sandbox.account, "published_messages"
    )


def test_a_file_that_comes_a_night_later_is_compared_with_the_one_before_it(
    read: Callable[..., Run], sandbox: Sandbox, published: list[Campaign]
) -> None:
    campaign = published[0]
    run = campaign.current_run
    campaign.published_at = run.published_at = sandbox.account.now
    files = [run.files[0], replace(run.files[0], number=2)]
    run.files, run.revealed = files[:1], 1
    first = read()
    assert first.code == 0
    run.files, run.revealed = files, len(files)
    sandbox.inject(Fault("fetch_message_file", "same_page", 9999))
    second = read(state=first.state)
    assert second.code == 1
    assert not second.records("published_messages")
    sandbox.faults.clear()
    third = read(state=second.state)
    assert third.code == 0
    assert first.keys("published_messages") | third.keys("published_messages") == truth.keys(
        sandbox.account, "published_messages"
    )


def test_an_api_that_ignores_the_run_of_a_file_fails_campaigns_with_several_runs(
    read: Callable[..., Run], sandbox: Sandbox, published: list[Campaign]
) -> None:
    several = {c.campaign_id for c in published if len(c.runs) > 1}
    sandbox.inject(*(Fault(f"{n}_message_file{s}", "same_run", 9999) for n, s in KINDS))
    first = read()
    assert first.code == 1
    assert "key run_number probably has another name" in first.stderr
    unfinished = first.state["bookmarks"]["published_messages"]["unfinished"]
    assert set(unfinished) == several
    sandbox.faults.clear()
    second = read(state=first.state)
    assert second.code == 0
    assert first.keys("published_messages") | second.keys("published_messages") == truth.keys(
        sandbox.account, "published_messages"
    )
    assert not {key for key in first.keys("published_messages") if key[0] in several}


def test_an_api_that_ignores_the_run_of_messages_fails_its_campaigns_until_it_heeds_it(
    read: Callable[..., Run], sandbox: Sandbox
) -> None:
    several = {c.campaign_id for c in sandbox.account.campaigns.values() if len(c.runs) > 1}
    sandbox.inject(Fault("list_run_messages", "same_run", 9999))
    first = read()
    assert first.code == 1
    assert "say that they are of other runs" in first.stderr
    assert "the same messages for a run that is not there" in first.stderr
    assert set(first.state["bookmarks"]["run_messages"]["unfinished"]) >= several
    assert not first.records("run_messages"), "of one run, archived messages would be missing"
    sandbox.faults.clear()
    second = read(state=first.state)
    assert second.code == 0
    assert second.keys("run_messages") == truth.keys(sandbox.account, "run_messages")


@pytest.mark.parametrize("content", [b"id,Body\n", b"Body\nSame\nSame\n"])
def test_files_that_are_equal_in_the_account_are_read(
    content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with MessageServer([Content(content)] * 3, older=[Content(content)] * 2) as server:
        run = in_process(server, caplog)()
    assert run.code == 0, run.stderr
    rows = content.count(b"\n") - 1
    assert len(run.records("published_messages")) == 5 * rows
    asked = [body["page"] for path, body in server.requests if path.endswith("/fetch")]
    assert asked.count(NOWHERE) <= 2, "each key is tried once"
