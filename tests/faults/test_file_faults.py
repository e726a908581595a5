"""What user code makes of its files, and what the file routes say of it, over HTTP and a real container."""

from typing import Final

import pytest

from tests.support.controller import Controller
from tests.support.faults import bash, fault, python, usable

pytestmark = pytest.mark.docker

SESSION: Final = "file faults"
DEEP: Final = """
import os
os.makedirs('/mnt/files/deep')
os.chdir('/mnt/files/deep')
for _ in range(1_500): os.mkdir('d'); os.chdir('d')
os.chdir('/home/user')
"""


@fault("F01")
def test_what_is_no_file_is_refused_and_not_waited_for(fault_server: Controller) -> None:
    made = "mkfifo fifo; ln -s /dev/zero zero; ln -s /proc/1/maps maps; echo x > shut; chmod 0 shut; ln -s loop loop"
    bash(fault_server, SESSION, f"cd /mnt/files; {made}")
    with fault_server.client() as client:
        for name in ("fifo", "zero", "maps", "shut", "loop"):
            assert client.get(f"/v1/sessions/{SESSION}/files/{name}").status_code == 422, name
    usable(fault_server, SESSION)


@fault("F02")
def test_a_file_of_a_terabyte_is_left_in_the_middle_and_read_at_its_end(fault_server: Controller) -> None:
    bash(fault_server, SESSION, "truncate -s 1T /mnt/files/sparse")
    path = f"/v1/sessions/{SESSION}/files/sparse"
    with fault_server.client() as client:
        with client.stream("GET", path) as response:
            assert response.headers["content-length"] == str(1 << 40)
            assert len(next(response.iter_raw())) > 0
        assert client.get(path, headers={"range": "bytes=-5"}).content == bytes(5)
        assert client.delete(path).status_code == 200
    usable(fault_server, SESSION)


@fault("F03")
def test_a_folder_that_is_too_deep_is_refused_in_words_and_bash_removes_it(fault_server: Controller) -> None:
    python(fault_server, SESSION, DEEP)
    with fault_server.client() as client:
        assert client.get(f"/v1/sessions/{SESSION}/files", params={"prefix": "deep"}).json()["items"] == []
        refused = client.delete(f"/v1/sessions/{SESSION}/files/deep")
    assert refused.status_code == 422, refused.text
    assert "too many folders in each other" in refused.json()["error"]["message"]
    assert bash(fault_server, SESSION, "rm -r /mnt/files/deep")["data"]["exit_code"] == 0
    usable(fault_server, SESSION)
