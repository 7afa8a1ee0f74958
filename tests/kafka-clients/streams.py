"""Streams over HTTP, as other programs have them beside the Kafka clients."""

from urllib.error import HTTPError
from urllib.request import Request, urlopen

from common import SOON, check

JSON, RECORDS, TEXT = "application/json", "application/vnd.highwater.records", "text/plain"


def call(method, server, name, body=None, **headers):
    headers = {header.replace("_", "-"): value for header, value in headers.items()}
    request = Request(server.streams + name, body, headers, method=method)
    try:
        with urlopen(request, timeout=SOON) as answer:
            return answer.headers, answer.read()
    except HTTPError as error:
        text = error.read().decode(errors="replace")
        check(False, f"{method} of the stream {name} was answered with {error.code}: {text}")


def put(server, name, content_type, **headers):
    call("PUT", server, name, content_type=content_type, **headers)


def post(server, name, body, content_type=JSON):
    call("POST", server, name, body, content_type=content_type)


def get(server, name):
    """All of a stream that one page holds."""
    headers, body = call("GET", server, name)
    check(headers["Stream-Up-To-Date"] == "true", f"the stream {name} has more than one page")
    return body


def array(values):
    """The body of JSON messages: each as it was sent."""
    return b"[" + b",".join(values) + b"]"
