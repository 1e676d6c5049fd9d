"""A local HTTP server that speaks as much of the Hugging Face and ModelScope protocols as their clients ask for.

    python hub_standin.py DIRECTORY     serves DIRECTORY/ORG/NAME/REVISION/... and prints its port

Uploads (Hugging Face only, without Xet) land there too, for the token `hf_standin`, in every organisation but
`forbidden`. Every request is logged to stderr, so that a test can see what was asked for.
"""

import base64
import hashlib
import json
import shutil
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
        if parts == ["api", "whoami-v2"]:
            self.whoami()
        elif parts[:2] == ["api", "models"]:
            self.huggingface_info(parts[2:])
        elif parts[:3] == ["api", "v1", "models"]:
            self.modelscope(parts[3:], query)
        elif len(parts) > 4 and parts[2] == "resolve":
            self.huggingface_file(parts)
        else:
            self.missing("EntryNotFound")

    def body(self) -> bytes:
        """Return what was sent, in one piece or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def whoami(self) -> None:
        if self.headers.get("Authorization") == "Bearer hf_standin":
            self.reply(200, json.dumps({"type": "user", "name": "someone", "orgs": []}).encode())
        else:
            self.reply(401, json.dumps({"error": "Invalid credentials"}).encode())

    def do_PUT(self) -> None:
        """Store a large file's contents under its sha256, which must be right."""
        body, oid = self.body(), self.path.removeprefix("/lfs/")
        if hashlib.sha256(body).hexdigest() != oid:
            self.reply(400, b"not its sha256")
            return
        (self.root / ".lfs").mkdir(exist_ok=True)
        (self.root / ".lfs" / oid).write_bytes(body)
        self.reply(200, b"")

    def do_POST(self) -> None:
        body, parts = self.body(), [unquote(part) for part in urlparse(self.path).path.strip("/").split("/")]
        if self.headers.get("Authorization") != "Bearer hf_standin":
            self.reply(401, json.dumps({"error": "Invalid credentials"}).encode())
        elif parts[:2] == ["api", "validate-yaml"]:
            self.validate_card(json.loads(body)["content"])
        elif parts == ["api", "repos", "create"]:
            self.create_repository(json.loads(body))
        elif parts[-3:] == ["lfs", "objects", "batch"]:
            self.large_files(json.loads(body)["objects"])
        elif parts[:2] == ["api", "models"] and not self.root.joinpath(*parts[2:4]).is_dir():
            self.missing("RepoNotFound")
        elif parts[4:5] == ["branch"]:
            main, branch = (self.root.joinpath(*parts[2:4], name) for name in ("main", parts[5]))
            self.reply(409 if branch.exists() else 200, b"{}")
            if not branch.exists():
                shutil.copytree(main, branch)
        elif parts[4:5] == ["preupload"]:
            files = [
                {
                    "path": item["path"],
                    "uploadMode": "lfs" if item["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for item in json.loads(body)["files"]
            ]
            self.reply(200, json.dumps({"files": files}).encode())
        elif parts[4:5] == ["commit"]:
            self.commit(self.root.joinpath(*parts[2:4], parts[5]), [json.loads(line) for line in body.splitlines()])
        else:
            self.missing("EntryNotFound")

    def validate_card(self, content: str) -> None:
        """Refuse what the hub does: front matter that is no YAML, an unknown relation, a result without its parts."""
        import yaml

        errors = []
        try:
            front = yaml.safe_load(content.split("---\n")[1])
            if front.get("base_model_relation", "quantized") not in ("adapter", "merge", "quantized", "finetune"):
                errors.append("base_model_relation")
            for result in (item for entry in front.get("model-index", []) for item in entry["results"]):
                assert result["task"]["type"]
                assert result["dataset"]["type"]
                assert result["dataset"]["name"]
                assert all(isinstance(metric["value"], float) for metric in result["metrics"])
        except (yaml.YAMLError, LookupError, TypeError, AttributeError, AssertionError) as error:
            errors.append(repr(error))
        answer = {"errors": [{"message": text} for text in errors], "warnings": []}
        self.reply(400 if errors else 200, json.dumps(answer).encode())

    def create_repository(self, asked: dict) -> None:
        folder = self.root / (asked["organization"] or "someone") / asked["name"]
        if asked["organization"] == "forbidden":
            self.reply(403, json.dumps({"error": "You don't have the rights"}).encode())
        elif folder.is_dir():
            self.reply(409, json.dumps({"error": "exists", "url": str(folder)}).encode())
        else:
            (folder / "main").mkdir(parents=True)
            (folder / "main" / ".gitattributes").write_text("*.safetensors filter=lfs\n", "utf-8")
            if asked.get("visibility") == "private":
                (folder.parent / f"{folder.name}.private").touch()
            url = f"http://{self.headers['Host']}/{folder.parent.name}/{folder.name}"
            self.reply(200, json.dumps({"url": url}).encode())

    def large_files(self, objects: list[dict]) -> None:
        """Answer git-lfs's batch request: where each object that is not here yet is to be put."""
        answers = []
        for item in objects:
            answer = {"oid": item["oid"], "size": item["size"]}
            if not (self.root / ".lfs" / item["oid"]).is_file():
                answer["actions"] = {"upload": {"href": f"http://{self.headers['Host']}/lfs/{item['oid']}"}}
            answers.append(answer)
        body = json.dumps({"transfer": "basic", "objects": answers}).encode()
        self.reply(200, body, "application/vnd.git-lfs+json")

    def commit(self, folder: Path, lines: list[dict]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                (folder.parent / "commits.log").open("a").write(value["summary"] + "\n")
                continue
            path = folder / value["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            if line["key"] == "deletedFile":
                path.unlink()
            elif line["key"] == "file":
                path.write_bytes(base64.b64decode(value["content"]))
            else:
                path.write_bytes((self.root / ".lfs" / value["oid"]).read_bytes())
        oid = commit(folder.name)
        url = f"http://{self.headers['Host']}/{folder.parent.parent.name}/{folder.parent.name}/commit/{oid}"
        self.reply(200, json.dumps({"commitUrl": url, "commitOid": oid}).encode())

    def revision(self, name: list[str], revision: str) -> Path | None:
        """Return the directory of a branch, tag or commit."""
        folder = self.root.joinpath(*name)
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.is_dir() and revision in (path.name, commit(path.name)):
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
