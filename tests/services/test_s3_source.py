"""s3://BUCKET/KEY as a source: against a real S3 what it can do, and over HTTP the answers that only Amazon gives, as recorded."""

import contextlib
import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mynah.data.posts import read_posts
from scripts.services import s3 as s3_server
from tests.http_fake import Answer

TABLE = b"text,author\nHello,wren\n"
EMPTY = (
    '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><KeyCount>0</KeyCount></ListBucketResult>'
)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Nothing of this machine's own settings: no profile, no file of credentials, no metadata service."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def fetched(mynah, tmp_path):
    """Fetch from an address; what it came to, with exit code, and the folder."""

    def call(address, **environment):
        done = mynah("fetch", "--from", address, "--basis", "permission", "--out", tmp_path / "out", **environment)
        if done.returncode:
            assert not (tmp_path / "out").exists()
            assert len(done.stderr.strip().splitlines()) == 2, done.stderr  # what is wrong, and what to do
            assert "Traceback" not in done.stderr
        return done

    return call


def refused(done, code, *words):
    assert done.returncode == code, done.stderr
    for each in words:
        assert each in done.stderr


@pytest.fixture(scope="session")
def other_user(s3):
    """A second user of the same server: their keys are good, and the first one's buckets are not theirs."""
    command = [s3_server.programs()["radosgw-admin"], "-n", "client.rgw", "user", "create", "--uid=other", "--display-name=other"]
    made = subprocess.run(command, env={**os.environ, **s3.gateway.environment}, capture_output=True, check=True)
    key = json.loads(made.stdout)["keys"][0]
    return {**s3.environment, "AWS_ACCESS_KEY_ID": key["access_key"], "AWS_SECRET_ACCESS_KEY": key["secret_key"]}


# --- a real S3 ------------------------------------------------------------------------------------------------------------


def test_a_table_in_s3_is_read_under_its_own_name(bucket, s3, fetched, tmp_path):
    client, name = bucket
    client.put_object(Bucket=name, Key="deep/Posts.CSV", Body=TABLE)
    assert fetched(f"s3://{name}/deep/Posts.CSV", **s3.environment).returncode == 0
    assert [(post.text, post.author) for post in read_posts(tmp_path / "out")] == [("Hello", "wren")]
    [record] = json.loads((tmp_path / "out" / "sources.json").read_text())
    assert (record["source"], record["basis"], record["posts"]) == ("csv:Posts.CSV", "permission", 1)
    assert str(tmp_path) not in json.dumps(record)
    assert name not in json.dumps(record)


def test_a_bucket_of_somebody_else_is_forbidden_whether_the_file_is_there_or_not(bucket, fetched, other_user):
    client, name = bucket
    client.put_object(Bucket=name, Key="a.csv", Body=TABLE)
    for key in ("a.csv", "none.csv"):
        done = fetched(f"s3://{name}/{key}", **other_user)
        refused(done, 3, f"s3://{name}/{key}: this key may not read it (AccessDenied)", "Give the key s3:GetObject")


def test_a_file_that_was_given_to_a_user_who_may_not_list_the_bucket_is_read(bucket, fetched, other_user, tmp_path):
    client, name = bucket
    client.put_object(Bucket=name, Key="a.csv", Body=TABLE, ACL="public-read")
    assert fetched(f"s3://{name}/a.csv", **other_user).returncode == 0
    assert [post.text for post in read_posts(tmp_path / "out")] == ["Hello"]


def test_what_is_not_there(bucket, s3, fetched):
    _, name = bucket
    refused(fetched(f"s3://{name}/none.csv", **s3.environment), 2, f"there is no s3://{name}/none.csv", "Name a file")
    refused(fetched(f"s3://{name}/folder/", **s3.environment), 2, f"there is no s3://{name}/folder/posts.jsonl", "a folder that")
    refused(fetched("s3://mynah-none/a.csv", **s3.environment), 2, "there is no bucket 'mynah-none'", "AWS_ENDPOINT_URL_S3")


def test_keys_that_are_wrong_or_missing(bucket, s3, fetched):
    _, name = bucket
    address, good = f"s3://{name}/a.csv", s3.environment
    wrong = fetched(address, **good | {"AWS_SECRET_ACCESS_KEY": "wrong-secret"})
    refused(wrong, 3, "SignatureDoesNotMatch", "correct AWS_SECRET_ACCESS_KEY")
    assert "wrong-secret" not in wrong.stderr
    refused(fetched(address, **good | {"AWS_ACCESS_KEY_ID": "UNKNOWN"}), 3, "InvalidAccessKeyId", "correct AWS_ACCESS_KEY_ID")
    none = {"AWS_ENDPOINT_URL_S3": s3.url, "AWS_DEFAULT_REGION": "us-east-1"}
    refused(fetched(address, **none), 3, "there are no credentials for S3", "Set AWS_ACCESS_KEY_ID")
    refused(fetched(address, **none, AWS_ACCESS_KEY_ID="half"), 3, "cannot load the credentials for S3", "Set AWS_ACCESS_KEY_ID")
    refused(fetched(address, **none, AWS_PROFILE="nobody"), 3, "profile (nobody) could not be found", "Set AWS_ACCESS_KEY_ID")
    nowhere = {"AWS_DEFAULT_REGION": "no such one!", "AWS_ACCESS_KEY_ID": "NEW"}
    refused(fetched(address, **good | nowhere), 3, "'no such one!'", "such as eu-central-1")


def test_an_endpoint_that_is_away_or_is_none(s3, fetched):
    away = fetched("s3://bucket/a.csv", **s3.environment | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"})
    refused(away, 3, "Could not connect", "127.0.0.1:9", "does AWS_ENDPOINT_URL_S3 name it?")
    refused(
        fetched("s3://bucket/a.csv", **s3.environment | {"AWS_ENDPOINT_URL_S3": "nowhere"}), 3, "nowhere", "http://… or https://…"
    )
    for endpoint in ("http://ann:hunter2@127.0.0.1:9", "ann:hunter2@127.0.0.1:9"):
        done = fetched("s3://bucket/a.csv", **s3.environment | {"AWS_ENDPOINT_URL_S3": endpoint})
        refused(done, 2, "AWS_ENDPOINT_URL_S3 contains a login", "Remove it")
        assert "hunter2" not in done.stderr


@pytest.mark.parametrize("address", ["s3://Bad Bucket/a.csv", "s3://arn:aws:s3:::x/a.csv", "s3://bucket/" + "k" * 1025])
def test_an_address_that_is_none_is_refused_before_anything_is_asked(fetched, address):
    refused(fetched(address), 2, "does not name an object", "s3://BUCKET/KEY")


# --- what only Amazon answers ---------------------------------------------------------------------------------------------


def told(status, code, message, more="", **headers):
    """An error as Amazon sends it: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message>{more}<RequestId>ZW8KHN4T5QV6R2C1</RequestId></Error>"
    return Answer(
        status, f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode(), {"Content-Type": "application/xml", **headers}
    )


@contextlib.contextmanager
def amazon(answer):
    """A server that gives `answer` to each request: to a HEAD, as S3 does, without its body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(answer.body)

        def do_HEAD(self):
            self.send_response(answer.status)
            for name, value in {
                **answer.headers,
                **({"Content-Length": len(answer.body)} if self.command == "GET" else {}),
            }.items():
                self.send_header(name, str(value))
            self.end_headers()

        def log_message(self, *_):
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield {
                "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_address[1]}",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
                "AWS_SECRET_ACCESS_KEY": "not-shown",
            }
        finally:
            server.shutdown()
            thread.join(10)


MALFORMED = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'"
REDIRECT = "The bucket you are attempting to access must be addressed using the specified endpoint."
IN_FRANKFURT = {"x-amz-bucket-region": "eu-central-1"}


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (told(400, "AuthorizationHeaderMalformed", MALFORMED, "<Region>eu-central-1</Region>", **IN_FRANKFURT), 2, "to eu-central-1."),
        (told(400, "AuthorizationHeaderMalformed", MALFORMED, "<Region>eu-central-1</Region>"), 2, "to eu-central-1."),
        (told(301, "PermanentRedirect", REDIRECT, "<Bucket>b</Bucket>", **IN_FRANKFURT), 2, "Set AWS_DEFAULT_REGION to eu-central-1."),
        (told(301, "PermanentRedirect", REDIRECT, "<Bucket>b</Bucket>"), 2, "Set AWS_DEFAULT_REGION to the region it is in."),
        (told(403, "AccessDenied", "Access Denied"), 3, "this key may not read it (AccessDenied)"),
        (told(403, "AllAccessDisabled", "All access to this object has been disabled"), 3, "All access to this object has been disabled"),
        (told(400, "ExpiredToken", "The provided token has expired."), 3, "Get a new AWS_SESSION_TOKEN"),
        (told(403, "RequestTimeTooSkewed", "The difference is too large."), 3, "Set this machine's clock."),
        (Answer(404, EMPTY.encode(), {"Content-Type": "application/xml"}), 3, "S3 failed"),
        (Answer(200, b"<html>Please log in</html>", {"Content-Type": "text/html"}), 3, "its response has no length"),
    ],
)  # fmt: skip
def test_what_amazon_refuses(fetched, answer, code, words):
    with amazon(answer) as environment:
        done = fetched("s3://b/a.csv", **environment)
    refused(done, code, "s3://b/a.csv", words)
    assert "not-shown" not in done.stderr
