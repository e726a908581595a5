"""Which tools are found for what people say, over the tools of nineteen toolkits."""

import gc
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox.gateway.tool_index import Entry, Hit, ToolIndex
from sandbox.gateway.tool_words import TERMS_MAX, terms_of, words_of
from tests.tools.toolset import ENTRIES, TOOLS, a_tool


@pytest.fixture(scope="module")
def index() -> ToolIndex:
    return ToolIndex(ENTRIES)


def _anything(_entry: Entry) -> bool:
    return True


def found(index: ToolIndex, use_case: str, hints: str = "") -> list[str]:
    return [_name(hit) for hit in index.search(use_case, _anything, hints=hints)]


def _name(hit: Hit) -> str:
    return hit.entry.tool.slug if hit.entry.tool is not None else hit.entry.toolkit


BEST = [
    ("what time is it in Berlin", "TIME_GET_CURRENT_TIME"),
    ("what's the time in Tokyo right now?", "TIME_GET_CURRENT_TIME"),
    ("convert 3 pm in New York to the time in London", "TIME_CONVERT_TIME"),
    ("show the commit history", "GIT_GIT_LOG"),
    ("log of commits since monday", "GIT_GIT_LOG"),
    ("what is the status of the working tree", "GIT_GIT_STATUS"),
    ("switch to another branch", "GIT_GIT_CHECKOUT"),
    ("create a branch", "GIT_GIT_CREATE_BRANCH"),
    ("list all branches", "GIT_GIT_BRANCH"),
    ("compare two branches", "GIT_GIT_DIFF"),
    ("reset staged changes", "GIT_GIT_RESET"),
    ("which tables are in the sqlite database", "SQLITE_LIST_TABLES"),
    ("describe a table", "SQLITE_DESCRIBE_TABLE"),
    ("run a select query on a database", "SQLITE_READ_QUERY"),
    ("send an email to someone", "MAIL_SEND_EMAIL"),
    ("Sending emails with attachments", "MAIL_SEND_EMAIL"),
    ("draft an email", "MAIL_CREATE_DRAFT"),
    ("read the newest messages in my mailbox", "MAIL_LIST_MESSAGES"),
    ("send a message to a chat channel", "CHAT_POST_MESSAGE"),
    ("list channels", "CHAT_LIST_CHANNELS"),
    ("history of a channel", "CHAT_CHANNEL_HISTORY"),
    ("open an issue", "ISSUES_CREATE_ISSUE"),
    ("show open issues of a repo", "ISSUES_LIST_ISSUES"),
    ("merge a pull request", "ISSUES_MERGE_PULL_REQUEST"),
    ("star a repository", "ISSUES_STAR_REPOSITORY"),
    ("create a meeting invite", "CALENDAR_CREATE_EVENT"),
    ("my events of next week", "CALENDAR_LIST_EVENTS"),
    ("when are all guests free", "CALENDAR_FIND_FREE_SLOTS"),
    ("upload a file", "DRIVE_UPLOAD_FILE"),
    ("put a document into a directory", "DRIVE_UPLOAD_FILE"),
    ("make a new folder", "DRIVE_CREATE_FOLDER"),
    ("add a row to a spreadsheet", "SHEETS_APPEND_ROW"),
    ("find a contact by phone number", "CRM_SEARCH_CONTACTS"),
    ("refund a customer", "PAY_REFUND_PAYMENT"),
    ("invoice a customer", "PAY_CREATE_INVOICE"),
    ("weather tomorrow", "WEATHER_GET_FORECAST"),
    ("directions between two places", "MAPS_FIND_ROUTE"),
    ("take a screenshot of a page", "WEB_TAKESCREENSHOT"),
    ("get the text of a web page", "WEB_FETCHPAGE"),
    ("github api", "github"),
]


@pytest.mark.parametrize(("use_case", "best"), BEST)
def test_the_tool_that_fits_comes_first(index: ToolIndex, use_case: str, best: str) -> None:
    hits = index.search(use_case, _anything)
    assert _name(hits[0]) == best, [(_name(hit), round(hit.score, 2), round(hit.share, 2)) for hit in hits]
    assert hits[0].fits


@pytest.mark.parametrize("use_case", ["book a flight to Mars", "fold proteins", "brew coffee", "order pizza tonight"])
def test_what_no_tool_does_fits_none(index: ToolIndex, use_case: str) -> None:
    assert [hit for hit in index.search(use_case, _anything) if hit.fits] == []


@pytest.mark.parametrize(
    "use_case",
    [
        "",
        "   ",
        "?!",
        '"',
        "'; DROP TABLE entries; --",
        '" OR "" NEAR("',
        "name : *",
        "{name} : ^x AND NOT",
        "email\x00send",
        "\ud800",
        "x" * 100_000,
        "a_" * 50_000,
        "what " + " " * 50_000 + "time",
        "aB" * 50_000,
        "AND OR NOT NEAR",
        "send* + email -mail (",
        "日本語 の 時間",
        "🙂🙂",
    ],
)
def test_any_text_is_a_question_and_harms_nothing(index: ToolIndex, use_case: str) -> None:
    index.search(use_case, _anything, hints=use_case)
    assert found(index, "merge a pull request")[0] == "ISSUES_MERGE_PULL_REQUEST"


def test_operators_of_the_index_are_words_like_others(index: ToolIndex) -> None:
    assert found(index, 'email" OR "status')[0] in {"MAIL_SEND_EMAIL", "GIT_GIT_STATUS"}
    assert "GIT_GIT_STATUS" in found(index, "NOT status")


def test_words_of_other_scripts_and_with_marks_are_found() -> None:
    tools = [a_tool("shop", "café_menu", "Zeigt die Getränke"), a_tool("uhr", "zeit", "東京 の 時間"), *TOOLS]
    index = ToolIndex([Entry(tool.toolkit, tool) for tool in tools])
    assert found(index, "CAFE")[0] == "SHOP_CAFÉ_MENU"
    assert found(index, "getranke")[0] == "SHOP_CAFÉ_MENU"
    assert found(index, "東京")[0] == "UHR_ZEIT"


def test_a_slug_that_is_named_comes_first(index: ToolIndex) -> None:
    assert found(index, "send an email, or use git_git_status for that")[0] == "GIT_GIT_STATUS"
    assert found(index, "GIT_GIT_STATUS then MAIL_SEND_EMAIL")[:2] == ["GIT_GIT_STATUS", "MAIL_SEND_EMAIL"]


def test_the_name_of_a_toolkit_decides_between_equals(index: ToolIndex) -> None:
    assert found(index, "download a page with drive")[0] == "DRIVE_DOWNLOAD_FILE"
    assert found(index, "read a file with files")[0] == "FILES_READ_FILE"


def test_what_is_known_already_helps_where_it_fits(index: ToolIndex) -> None:
    plain, helped = found(index, "create one"), found(index, "create one", hints="spreadsheet_id: 1, range: A1")
    assert plain[0] != "SHEETS_CREATE_CHART"
    assert helped[0] == "SHEETS_CREATE_CHART"


def test_what_is_not_allowed_is_never_found(index: ToolIndex) -> None:
    hits = index.search("send an email, MAIL_SEND_EMAIL", lambda entry: entry.toolkit != "mail", limit=50)
    assert hits
    assert all(hit.entry.toolkit != "mail" for hit in hits)


def test_no_more_is_given_than_asked_for_and_nothing_twice(index: ToolIndex) -> None:
    hits = index.search("list get create GIT_GIT_LOG git_git_log", _anything, limit=7)
    assert len(hits) == 7
    assert len({_name(hit) for hit in hits}) == 7


def test_a_small_index_ranks_too() -> None:
    two = ToolIndex([Entry("time", tool) for tool in TOOLS[:2]])
    assert found(two, "what time is it in Berlin")[0] == "TIME_GET_CURRENT_TIME"
    assert found(two, "convert a time")[0] == "TIME_CONVERT_TIME"
    assert found(ToolIndex([Entry("git", TOOLS[2])]), "status of git") == ["GIT_GIT_STATUS"]
    assert found(ToolIndex([]), "anything") == []


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"properties": None},
        {"properties": []},
        {"properties": {"a": None, "b": True, "c": {"description": 3}}},
        {"properties": {"\ud800": {"description": "\x00"}}},
    ],
)
def test_schemas_of_any_form_are_indexed(schema: dict[str, object]) -> None:
    odd = a_tool("odd", "one", "\x00\ud800 brew" * 10_000)
    index = ToolIndex([Entry("odd", type(odd)(odd.slug, odd.name, odd.description, "odd", schema))])
    assert found(index, "brew") == ["ODD_ONE"]


def test_threads_may_search_at_the_same_time(index: ToolIndex) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda case: found(index, case[0])[0], BEST * 3))
    assert answers == [best for _, best in BEST] * 3


def test_an_index_that_nobody_holds_lets_go_of_its_database() -> None:
    index = ToolIndex(ENTRIES)
    database = index._database
    del index
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.execute("SELECT 1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("getCommitLog", ["get", "commit", "log"]),
        ("HTTPServerError", ["http", "server", "error"]),
        ("snake_case-and.dots", ["snake", "case", "and", "dots"]),
        ("Über größe", ["über", "größe"]),
        ("utf8 log2", ["utf8", "log2"]),
        ("\x00\ud800 '\"", []),
    ],
)
def test_texts_are_cut_into_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_words_that_say_nothing_are_left_out_unless_there_are_no_others() -> None:
    assert terms_of("please send the email to my user") == ["send", "email"]
    assert terms_of("what is it") == ["what", "is", "it"]
    assert len(terms_of(" ".join(f"word{number}" for number in range(1000)))) == TERMS_MAX
