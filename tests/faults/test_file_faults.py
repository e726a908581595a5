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


@fault("F04")
def test_a_file_whose_name_is_no_utf8_is_reached_by_the_name_that_is_shown(fault_server: Controller) -> None:
    made = r"mkdir odd $'odd/d\xff'; echo 1 > $'odd/d\xff/\xe9t\xe9'; echo 2 > $'odd/\xef\xbf\xbd'"
    bash(fault_server, SESSION, f"cd /mnt/files; {made}")
    place = f"/v1/sessions/{SESSION}/files"
    with fault_server.client() as client:
        names = [item["mount_relative_path"] for item in client.get(place, params={"prefix": "odd/"}).json()["items"]]
        assert names == ["odd/d\ufffd/\ufffdt\ufffd", "odd/\ufffd"]
        assert [client.get(f"{place}/{name}").text for name in names] == ["1\n", "2\n"]
        # One of another name that is shown alike: which is meant cannot be known.
        bash(fault_server, SESSION, r"cd /mnt/files/odd; cp $'d\xff/\xe9t\xe9' $'d\xff/\xe8t\xe8'")
        refused = client.delete(f"{place}/{names[0]}")
        assert (refused.status_code, "several names" in refused.text) == (422, True), refused.text
        bash(fault_server, SESSION, r"rm /mnt/files/odd/$'d\xff/\xe8t\xe8'")
        assert client.delete(f"{place}/{names[0]}").status_code == 200
        assert client.delete(f"{place}/odd/d\ufffd").status_code == 200
    assert bash(fault_server, SESSION, "ls -A /mnt/files/odd; rm -r /mnt/files/odd")["data"]["stdout"] == "\ufffd\n"
    usable(fault_server, SESSION)
