# SPDX-License-Identifier: Apache-2.0
"""The pushing half of the loopback Hub: repositories, large files and commits."""

import base64
import hashlib
import json
import re
from urllib.parse import unquote

import yaml
from hub_store import Repository, file_id, is_lfs

REPO = re.compile(r"/api/(models|datasets)/(.+?)/(preupload|commit|branch)/([^/]+)")
BATCH = re.compile(r"/(datasets/)?(.+)\.git/info/lfs/objects/batch")
LFS = re.compile(r"/_lfs/(upload|complete|verify)/([0-9a-f]{64})(?:/(\d+))?")


class WriteAnswers:
    """Part of the handler that changes repositories; every answer wants a token of somebody who may."""

    def answer_write(self, address) -> bool:
        """Answer if it is such a request, and return whether it was."""
        if address == "/api/whoami-v2":
            self.answer_whoami()
        elif address == "/api/repos/create":
            self.answer_create()
        elif address == "/api/validate-yaml":
            self.answer_validate()
        elif repo := REPO.fullmatch(address):
            kind, name, what, revision = repo.groups()
            repository = self.writable(kind, name)
            if repository is not None:
                getattr(self, f"answer_{what}")(kind, name, repository, unquote(revision))
        elif batch := BATCH.fullmatch(address):
            if self.find("datasets" if batch[1] else "models", batch[2]) is not None and self.writer() is not None:
                self.answer_batch()
        elif lfs := LFS.fullmatch(address):
            self.answer_lfs(*lfs.groups())
        else:
            return False
        return True

    def writer(self):
        """Who asks, if the token may write; else `None` after an error was sent."""
        user = self.user()
        if user is None:
            self.refuse(401, "Invalid credentials in Authorization header")
        elif user.role != "write":
            self.refuse(403, "This token may not write: use one with the role write")
        else:
            return user
        return None

    def writable(self, kind, name) -> Repository | None:
        """A repository this user may push to, or `None` after an error was sent; anyone may open pull requests."""
        repository = self.find(kind, name)
        user = None if repository is None else self.writer()
        if user is not None and not user.owns(name) and "create_pr" not in self.query:
            self.refuse(403, f"You may not write to {name}")
            return None
        return None if user is None else repository

    def answer_whoami(self):
        user = self.user()
        if user is None:
            self.refuse(401, "Invalid credentials in Authorization header")
            return
        organizations = [{"name": name} for name in user.organizations]
        auth = {"accessToken": {"role": user.role}}
        self.send_json({"name": user.name, "type": "user", "orgs": organizations, "auth": auth})

    def answer_create(self):
        user, asked = self.writer(), json.loads(self.body)
        if user is None:
            return
        kind = asked.get("type", "model") + "s"
        name = f"{asked.get('organization') or user.name}/{asked['name']}"
        if not user.owns(name):
            self.refuse(403, f"You may not create {name}")
            return
        url = f"{self.server.url}/{'datasets/' if kind == 'datasets' else ''}{name}"
        with self.server.store.lock:
            repositories = self.server.store.repositories
            status = 409 if (kind, name) in repositories else 200
            if status == 200:
                files = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
                repositories[kind, name] = Repository.of(files, asked.get("visibility") == "private")
        self.send_json({"url": url, "name": name, "id": name}, status)

    def answer_validate(self):
        """YAML between the first lines of dashes must be a mapping, with a list as `model-index` if at all."""
        asked = json.loads(self.body)
        header = re.match(r"\s*---\r?\n(.*?)\r?\n---(\r?\n|$)", asked["content"], re.DOTALL)
        errors, warnings = [], []
        try:
            metadata = yaml.safe_load(header[1]) if header else None
            if metadata is None:
                warnings.append({"message": "empty or missing yaml metadata in repo card"})
            elif not isinstance(metadata, dict) or not isinstance(metadata.get("model-index", []), list):
                errors.append({"message": '"model-index" must be an array'})
        except yaml.YAMLError as error:
            errors.append({"message": str(error)})
        self.send_json({"errors": errors, "warnings": warnings}, 400 if errors else 200)

    def answer_branch(self, kind, name, repository, branch):
        if branch in repository.branches:
            self.refuse(409, f"Reference {branch} already exists")
            return
        repository.branches[branch] = list(repository.commits)
        self.send_json({})

    def answer_preupload(self, kind, name, repository, revision):
        commit = repository.find(revision)
        if commit is None:
            self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return
        answers = []
        for file in json.loads(self.body)["files"]:
            path = file["path"]
            mode = "lfs" if is_lfs(path) and file["size"] else "regular"
            answer = {"path": path, "uploadMode": mode, "shouldIgnore": False}
            if path in commit.files:
                answer["oid"] = file_id(path, commit.files[path])
            answers.append(answer)
        self.send_json({"files": answers})

    def answer_batch(self):
        store, url, objects = self.server.store, f"{self.server.url}/_lfs", []
        for item in json.loads(self.body)["objects"]:
            answer, oid = {"oid": item["oid"], "size": item["size"]}, item["oid"]
            if oid not in store.lfs:
                upload = {"href": f"{url}/upload/{oid}"}
                if store.part_size is not None and item["size"] > store.part_size:
                    count = -(-item["size"] // store.part_size)
                    header = {f"{part:05}": f"{url}/upload/{oid}/{part}" for part in range(1, count + 1)}
                    header["chunk_size"] = str(store.part_size)
                    upload = {"href": f"{url}/complete/{oid}", "header": header}
                answer["actions"] = {"upload": upload, "verify": {"href": f"{url}/verify/{oid}"}}
            objects.append(answer)
        self.send_json({"transfer": "basic" if store.part_size is None else "multipart", "objects": objects})

    def answer_lfs(self, what, oid, part):
        """Take a large file, in one piece or in parts, and check it."""
        store = self.server.store
        if what == "upload" and part is not None:
            store.parts.setdefault(oid, {})[int(part)] = self.body
            self.send(200, b"", {"ETag": hashlib.md5(self.body).hexdigest()})
            return
        if what == "verify":
            right = oid in store.lfs and len(store.lfs[oid]) == json.loads(self.body)["size"]
            self.send_json({}, 200 if right else 404)
            return
        if what == "complete":
            wanted = [item["partNumber"] for item in json.loads(self.body)["parts"]]
            content = b"".join(store.parts[oid][number] for number in wanted)
        else:
            content = self.body
        if hashlib.sha256(content).hexdigest() != oid:
            self.refuse(400, "The file is not the one announced: sha256 mismatch")
            return
        store.lfs[oid] = content
        self.send_json({})

    def answer_commit(self, kind, name, repository, revision):
        """Apply a commit, all of it or nothing."""
        lines = [json.loads(line) for line in self.body.splitlines()]
        header, operations = lines[0]["value"], lines[1:]
        with self.server.store.lock:
            if "create_pr" in self.query:
                repository.pull_requests += 1
                revision = f"refs/pr/{repository.pull_requests}"
                repository.branches[revision] = list(repository.commits)
            if revision not in repository.branches:
                self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
                return
            head = repository.branches[revision][-1]
            if header.get("parentCommit", head.oid) != head.oid:
                self.refuse(412, "A commit has happened since. Please refresh and try again.")
                return
            files = dict(head.files)
            for operation in operations:
                value = operation["value"]
                if operation["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif operation["key"] == "lfsFile" and value["oid"] not in self.server.store.lfs:
                    self.refuse(400, f"{value['path']} was not uploaded")
                    return
                elif operation["key"] == "lfsFile":
                    files[value["path"]] = self.server.store.lfs[value["oid"]]
                elif operation["key"] == "deletedFile":
                    del files[value["path"]]
            commit = repository.add(revision, header["summary"], files)
        answer = {"commitOid": commit.oid, "commitUrl": f"{self.server.url}/{name}/commit/{commit.oid}"}
        if "create_pr" in self.query:
            answer["pullRequestUrl"] = f"{self.server.url}/{name}/discussions/{repository.pull_requests}"
        self.send_json(answer)
