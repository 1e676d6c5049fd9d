"""A local HTTP server that speaks as much of the Hugging Face and ModelScope protocols as their clients ask for.

    python hub_standin.py DIRECTORY     serves DIRECTORY/ORG/NAME/REVISION/... and prints its port

Every request is logged to stderr, so that a test can see what was asked for.
"""

import hashlib
import json
import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse


def commit(revision: str) -> str:
    return hashlib.sha1(revision.encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, root: Path, *args):
        self.root = root
        super().__init__(*args)

    def log_message(self, format: str, *args) -> None:
        print(self.command, self.path, file=sys.stderr, flush=True)

    def reply(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def missing(self, code: str) -> None:
        body = {"error": code, "Code": 10010205001, "Success": False, "Message": "not found"}
        self.reply(404, json.dumps(body).encode(), X_Error_Code=code, X_Error_Message=code)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlparse(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if parts[:2] == ["api", "models"]:
            self.huggingface_info(parts[2:])
        elif parts[:3] == ["api", "v1", "models"]:
            self.modelscope(parts[3:], query)
        elif len(parts) > 4 and parts[2] == "resolve":
            self.huggingface_file(parts)
        else:
            self.missing("EntryNotFound")

    def revision(self, name: list[str], revision: str) -> Path | None:
        """Return the directory of a branch, tag or commit."""
        folder = self.root.joinpath(*name)
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if revision in (path.name, commit(path.name)):
                return path
        return None

    def huggingface_info(self, parts: list[str]) -> None:
        revision = parts[3] if parts[2:3] in (["revision"], ["tree"]) else "main"
        folder = self.revision(parts[:2], revision)
        if not self.root.joinpath(*parts[:2]).is_dir():
            self.missing("RepoNotFound")
        elif folder is None:
            self.missing("RevisionNotFound")
        elif parts[2:3] == ["tree"]:
            files = [
                {"type": "file", "path": path, "size": (folder / path).stat().st_size, "oid": "0" * 40}
                for path in names(folder)
            ]
            self.reply(200, json.dumps(files).encode())
        else:
            body = {
                "id": "/".join(parts[:2]),
                "sha": commit(folder.name),
                "siblings": [{"rfilename": p} for p in names(folder)],
            }
            self.reply(200, json.dumps(body).encode())

    def huggingface_file(self, parts: list[str]) -> None:
        folder = self.revision(parts[:2], parts[3])
        path = folder.joinpath(*parts[4:]) if folder is not None else None
        if folder is None or path is None or not path.is_file():
            self.missing("EntryNotFound")
            return
        body = path.read_bytes()
        self.reply(
            200,
            body,
            "application/octet-stream",
            X_Repo_Commit=commit(folder.name),
            ETag=f'"{hashlib.sha256(body).hexdigest()}"',
        )

    def modelscope(self, parts: list[str], query: dict[str, str]) -> None:
        folder = self.revision(parts[:2], query.get("Revision", "master"))
        if folder is None:
            self.missing("RepoNotFound")
        elif parts[2:] == ["repo", "files"]:
            files = [
                {
                    "Path": path,
                    "Name": path,
                    "Type": "blob",
                    "Size": (folder / path).stat().st_size,
                    "Sha256": hashlib.sha256((folder / path).read_bytes()).hexdigest(),
                }
                for path in names(folder)
            ]
            self.reply(200, json.dumps({"Code": 200, "Success": True, "Data": {"Files": files}}).encode())
        elif parts[2:] == ["repo"] and (folder / query["FilePath"]).is_file():
            self.reply(200, (folder / query["FilePath"]).read_bytes(), "application/octet-stream")
        elif not parts[2:]:
            self.reply(200, json.dumps({"Code": 200, "Success": True, "Data": {"Name": parts[1]}}).encode())
        else:
            self.missing("EntryNotFound")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, Path(sys.argv[1])))
    print(server.server_address[1], flush=True)
    server.serve_forever()
