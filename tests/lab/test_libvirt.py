# SPDX-License-Identifier: GPL-2.0-only
"""What the libvirt scenario reads, compares and prints, with simulated hosts."""

import io
import json
import sys
import tempfile
import unittest
import unittest.mock
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / "scripts/lab.d"), str(REPO / "tests/scenarios")]

# pylint: disable=wrong-import-position
import guest_memory
import libvirt
from boot import scenario, wire
from judge import ram
from judge.memory_map import BadMemory
from play import libvirt_cases, libvirt_guest, libvirt_host

EXAMPLE = REPO / "samples/vfio-mdev/mdma/libvirt/mdma-guest.xml"
PAGE = ram.PAGE_SIZE
# Address of the guest's RAM.
FIRST = 1 << 32


class Host:
    """A host that holds guest memory."""

    def __init__(self, memory, copied=False):
        # pylint: disable=consider-using-with
        self.file = tempfile.TemporaryFile()
        self.file.write(memory)
        self.file.flush()
        self.memory = guest_memory.files_of(self.file.fileno(), len(memory), FIRST)
        if copied:
            self.memory = ram.Copy(self.memory)
            # What the guest changes after it continues must not affect the copy.
            self.file.seek(0)
            self.file.write(b"y" * len(memory))
            self.file.flush()
        self.dropped = False

    def ram_digests(self):
        """As a host does."""
        return ram.digests(self.memory)

    def ram_layout(self):
        """As a host does."""
        return self.memory.where.layout()

    def ram_stamps(self, pages):
        """As a host does."""
        return ram.stamp_numbers(self.memory, pages)

    def ram_names(self, pages):
        """As a host does."""
        return json.dumps([ram.name_page(self.memory.where, page) for page in pages])

    def drop_ram(self):
        """As a host does."""
        self.dropped = True
        self.file.close()


class CompareRam(unittest.TestCase):
    """libvirt_guest.compare_ram()."""

    def compare(self, one, other):
        """Compare two memories."""
        hosts = []
        for memory, copied in ((one, False), (other, True)):
            hosts.append(Host(memory, copied))
            self.addCleanup(hosts[-1].file.close)
        result = libvirt_guest.compare_ram(*hosts)
        self.assertTrue(all(host.dropped for host in hosts))
        return result

    def test_same(self):
        """All pages count, zero or not."""
        memory = bytes(ram.CHUNK) + b"x" * ram.CHUNK
        result = self.compare(memory, memory)
        self.assertEqual((result["pages_compared"], result["pages_different"]), (512, 0))

    def test_one_byte(self):
        """The last byte of a page, and of the memory, in a chunk that is zero on one side."""
        memory = bytearray(2 * ram.CHUNK)
        memory[-1] = 1
        result = self.compare(bytes(memory), bytes(2 * ram.CHUNK))
        self.assertEqual(result["different"],
                         [{"page": (FIRST >> 12) + 511, "place": "ram+0x1ff000",
                           "source_seq": None, "destination_seq": None}])

    def test_stamps_are_named(self):
        """The writes on both sides are named, also number 0 and the largest."""
        one, other = bytearray(ram.CHUNK), bytearray(ram.CHUNK)
        ram.STAMP.pack_into(one, 7 * PAGE, ram.STAMP_MAGIC, (1 << 64) - 1, 7 * PAGE)
        ram.STAMP.pack_into(other, 7 * PAGE, ram.STAMP_MAGIC, 0, 7 * PAGE)
        result = self.compare(bytes(one), bytes(other))
        self.assertEqual(result["different"],
                         [{"page": (FIRST >> 12) + 7, "place": "ram+0x7000",
                           "source_seq": (1 << 64) - 1, "destination_seq": 0}])

    def test_sizes_differ(self):
        """Half of the memory is not the memory."""
        with self.assertRaises(BadMemory):
            self.compare(bytes(ram.CHUNK), bytes(2 * ram.CHUNK))

    def test_torn(self):
        """A size that is not a whole number of chunks."""
        with self.assertRaises(BadMemory):
            self.compare(bytes(ram.CHUNK - 1), bytes(ram.CHUNK))


class Pace(unittest.TestCase):
    """libvirt_guest.Pace."""

    def test_waits_for_rounds_and_pages(self):
        """It waits for both, not only for one of them."""
        pace = libvirt_guest.Pace(4, 100, 500)
        self.assertEqual(pace.next(3, 1000) + pace.next(9, 99), [])
        self.assertEqual(pace.next(9, 100), [["migrate-setspeed", "16384"]])

    def test_downtime_grows(self):
        """First two rounds after the bandwidth, then twice as long every four rounds."""
        pace = libvirt_guest.Pace(4, 0, 500)
        told = [words for number in range(4, 16) for words in pace.next(number, 0)]
        self.assertEqual(told, [["migrate-setspeed", "16384"],
                                ["migrate-setmaxdowntime", "500"],
                                ["migrate-setmaxdowntime", "1000"],
                                ["migrate-setmaxdowntime", "2000"]])


class Start(unittest.TestCase):
    """What is written while virsh still calls the other host is tracked by nobody."""

    def test_counts_from_the_first_round(self):
        """The migration is let go when enough was written since then."""
        commands, written = [], iter((0, 100, 200, 300, 340, 390, 400))
        source = SimpleNamespace(stat=lambda *_: str(next(written)))

        def follow(_, seen):
            commands.extend(seen({"rounds": rounds}) for rounds in (0, 0, 3, 3, 3, 3))
            return 0, ""
        guest = SimpleNamespace(mdev="", name="g", virsh=lambda *_: None, migrate=lambda *_: None,
                                follow=follow, completed=lambda _: None)
        leg = SimpleNamespace(guest=guest, config=SimpleNamespace(bandwidth=1), say=lambda _: None,
                              pace=libvirt_guest.Pace(3, 200, 1), facts={"samples": []},
                              paused=None, _migrated=lambda _: None)
        libvirt.Leg._migrate(leg, source, None)     # pylint: disable=protected-access
        self.assertEqual([bool(words) for words in commands],
                         [False, False, False, False, False, True])


class Migrating:
    """A host from which a guest migrates: each sample is a round more, unless it stands still.
    The first @early samples are before the first round."""

    def __init__(self, rounds, stands_still=False, early=0):
        self.rounds, self.stands_still, self.early = rounds, stands_still, early
        self.number, self.said = 0, []

    def run(self, *argv):
        """Run virsh."""
        command = argv[4]
        self.said.append([command, *argv[6:]])
        self.number += command == "domjobinfo" and not self.stands_still
        rounds = max(0, self.number - self.early)
        return [0, f"memory_iteration: {rounds}\nmemory_processed: 0\n", ""]

    def ended(self, _label):
        """After so many rounds, or once it was aborted."""
        aborted = ["domjobabort"] in self.said
        return [int(aborted), "over"] if aborted or self.number >= self.rounds else []


class Follow(unittest.TestCase):
    """libvirt_guest.Guest.follow()."""

    def setUp(self):
        self.slept = []

    def follow(self, host, patience):
        """Follow a migration whose downtime may grow."""
        guest = libvirt_guest.Guest(ElementTree.parse(EXAMPLE).getroot(), patience)
        pace = libvirt_guest.Pace(2, 0, 500)
        with unittest.mock.patch("time.sleep", self.slept.append):
            return guest.follow(host, lambda sample: pace.next(sample["rounds"], 0))

    def test_is_let_end(self):
        """A migration that does not converge gets more bandwidth, and a longer downtime."""
        host = Migrating(9)
        self.assertEqual(self.follow(host, 100), [0, "over"])
        self.assertEqual([words for words in host.said if words[0] != "domjobinfo"],
                         [["migrate-setspeed", "16384"], ["migrate-setmaxdowntime", "500"],
                          ["migrate-setmaxdowntime", "1000"]])

    def test_stands_still(self):
        """A migration that stands still is aborted, and does not stand in the way of others."""
        host = Migrating(9, stands_still=True)
        with self.assertRaisesRegex(libvirt_guest.GuestError, "no progress for 0.05 s"):
            self.follow(host, 0.05)
        self.assertEqual(host.said[-1], ["domjobabort"])
        self.assertEqual(set(self.slept), {libvirt_guest.SOON_S})

    def test_looks(self):
        """Each look takes time from the migration, so there are few; but when the first round
        begins is seen soon."""
        self.follow(Migrating(6, early=2), 100)
        soon, look = libvirt_guest.SOON_S, libvirt_guest.LOOK_S
        self.assertEqual(self.slept, [soon, soon, look, look, look, look])


class Program(unittest.TestCase):
    """libvirt_host.run()."""

    def test_without_an_end(self):
        """It has failed, like one that says so."""
        with self.assertRaisesRegex(libvirt_host.HostError, "sleep 60: no end in 0.1 s"):
            libvirt_host.run("sleep", 60, patience=0.1)


class Virsh(unittest.TestCase):
    """Output of virsh."""

    def test_raw(self):
        """Numbers become numbers, and words stay words."""
        self.assertEqual(libvirt_guest.raw("Job type: 2\n\nmemory_iteration: 3\nx: y: z\n"),
                         {"Job type": 2, "memory_iteration": 3, "x": "y: z"})

    def test_last_words(self):
        """An error, without the progress."""
        said = "\rMigration: [  0.00 %]\rMigration: [99.91 %]error: no: mdev"
        self.assertEqual(libvirt_guest.last_words(said), "error: no: mdev")
        self.assertEqual(libvirt_guest.last_words("\rMigration: [100.00 %]\n"), "")


class Case:
    """A guest of which a case is played, and its hosts: keeps what is done."""

    mdev, name = "old", "guest"

    def __init__(self):
        self.done, self.written = [], {}
        self.cases = libvirt_cases.Cases(
            self, SimpleNamespace(type="mdma-1", downtime_limit_ms=1), "here", self)

    def virsh(self, _, *words):
        """The definition, of virsh dumpxml."""
        return f"<{words[0]} uuid='{self.mdev}'/>"

    def write(self, path, text):
        """On a host."""
        self.written[path] = text

    def __getattr__(self, name):
        """Anything else that is done with the guest."""
        return lambda *words: self.done.append((name, *words)) or (0, "")


class Snapshot(unittest.TestCase):
    """A snapshot of a guest that runs."""

    def test_ends(self):
        """It may stop the guest as long as it must, and nothing after it may."""
        guest, said = Case(), []
        with tempfile.TemporaryDirectory() as directory, \
                unittest.mock.patch.object(libvirt_cases, "IMAGES", Path(directory)), \
                unittest.mock.patch.object(guest.cases, "_goes_on"):
            file = Path(directory) / "mdma-guest.mem"
            file.write_bytes(bytes(2 << 20))
            guest.virsh = lambda _, *words: said.append(words)
            self.assertEqual(guest.cases.snapshot(), "2 MiB")
            self.assertFalse(file.exists())
        self.assertEqual([(words[0], words[-1]) for words in said], [
            ("migrate-setmaxdowntime", "60000"),
            ("snapshot-create-as", f"file={file},snapshot=external"),
            ("migrate-setmaxdowntime", "300"), ("snapshot-delete", "--metadata")])

    def test_fails(self):
        """The cases that follow have the usual downtime even so."""
        guest, said = Case(), []

        def virsh(_, *words):
            said.append((words[0], words[-1]))
            if words[0] == "snapshot-create-as":
                raise libvirt_host.HostError("disk full")
        guest.virsh = virsh
        with self.assertRaisesRegex(libvirt_host.HostError, "disk full"):
            guest.cases.snapshot()
        self.assertEqual(said[-1], ("migrate-setmaxdowntime", "300"))


class AnotherUuid(unittest.TestCase):
    """A host whose device has another UUID."""

    def test_played(self):
        """It has only the other one, of which the definition tells; in the end, its own again."""
        guest = Case()
        with unittest.mock.patch.object(guest.cases, "_goes_on"):
            guest.cases.another_uuid()
        other = guest.mdev
        self.assertEqual(guest.written, {libvirt_cases.CHANGED: f"<dumpxml uuid='{other}'/>"})
        self.assertEqual([words for words in guest.done if words[0] != "follow"], [
            ("mdevctl", "here", "stop", "-u", "old"), ("mdevctl", "here", "undefine", "-u", "old"),
            ("define_mdev", "here", "mdma-1"),
            ("migrate", guest, "here", "--xml", libvirt_cases.CHANGED)])
        guest.done.clear()
        guest.cases._change_mdev("old")  # pylint: disable=protected-access
        self.assertEqual(guest.mdev, "old")
        self.assertEqual(guest.done[0], ("mdevctl", "here", "stop", "-u", other))


class Libvirt:
    """A host whose libvirt is asked for its own ways to have iommufd.

    @valid: whether its schema has them
    @words: what it says when the guest is started; empty: it starts
    @tells: whether QEMU is told
    """

    def __init__(self, valid, words, tells=False):
        self.valid, self.words, self.tells = valid, words, tells
        self.written, self.log, self.done = [], b"earlier: iommufd\n", []

    def write(self, _path, text):
        """A definition."""
        self.written.append(text)

    def read(self, _path, offset=0):
        """QEMU's log."""
        return self.log[offset:]

    def run(self, *argv):
        """Run virsh."""
        words = [word for word in argv[4:] if not word.startswith("/")]
        self.done.append(" ".join(words))
        if "--validate" in words and not self.valid:
            return [1, "", "error: XML document failed to validate against schema: no"]
        if words[0] == "start":
            self.log += b"-device iommufd=iommufd0\n" if self.tells else b"-device\n"
            return [int(bool(self.words)), "", self.words]
        return [0, "", ""]


class OwnWays(unittest.TestCase):
    """libvirt's own ways to have iommufd."""

    NONE = "error: QEMU: failed to setup container for group 9: No available IOMMU models"

    def play(self, host):
        """The case, on this host."""
        guest = libvirt_guest.Guest(ElementTree.parse(EXAMPLE).getroot(), 1, logs=True)
        config = SimpleNamespace(type="mdma-1", downtime_limit_ms=1, container="iommufd")
        with redirect_stdout(io.StringIO()):
            (name, wrong, seen), = libvirt_cases.Cases(guest, config, host, None).play_last()
        self.assertEqual(name, "own ways")
        return wrong, seen

    def test_refused(self):
        """The schema lacks them; without it they are dropped. Each leaves no guest."""
        host = Libvirt(False, self.NONE)
        self.assertEqual(self.play(host), (None, (
            "<driver iommufd='yes'/> is refused, and dropped; "
            "<iommufd enabled='yes'/> is refused, and dropped")))
        self.assertEqual(host.done, ["define --validate", "define", "start mdma-guest",
                                     "destroy mdma-guest", "undefine mdma-guest"] * 2)
        device, domain = map(ElementTree.fromstring, host.written)
        self.assertEqual(device.find("devices/hostdev/driver").attrib, {"iommufd": "yes"})
        self.assertEqual(domain.find("iommufd").attrib, {"enabled": "yes"})

    def test_accepted(self):
        """The schema has them, and QEMU hears nothing."""
        wrong, seen = self.play(Libvirt(True, self.NONE))
        self.assertIsNone(wrong)
        self.assertIn("accepted, and dropped", seen)

    def test_works(self):
        """A libvirt that can do it is seen, whether the guest starts or not."""
        for host in (Libvirt(True, ""), Libvirt(True, self.NONE, tells=True),
                     Libvirt(True, "", tells=True)):
            self.assertIn("libvirt does something now", self.play(host)[0])

    def test_other_words(self):
        """That a guest does not start for another reason shows nothing."""
        self.assertIn("no memory", self.play(Libvirt(True, "error: no memory"))[0])
        host = Libvirt(True, self.NONE)
        host.run = lambda *argv: [int("--validate" in argv), "", "error: no libvirtd"]
        self.assertIn("no libvirtd", self.play(host)[0])


class OnIommufd(unittest.TestCase):
    """A guest and its hosts as libvirt.rst says for iommufd."""

    CONFIG = SimpleNamespace(container="iommufd", type="mdma-1", window_mb=16, dirty_mb=1,
                             mutant="backend", iommufd_mutant="device")
    TYPE1 = SimpleNamespace(**{**vars(CONFIG), "container": "type1"})

    def test_lines_for_a_host(self):
        """udev and libvirt get both nodes, and libvirt keeps what it has by default."""
        lines, _ = libvirt_guest.iommufd_documented()
        text = "\n".join(lines)
        for word in ("SUBSYSTEM==\"vfio-dev\"", "KERNEL==\"iommu\"", "\"/dev/iommu\"",
                     "\"/dev/vfio/devices/vfio0\"", "\"/dev/kvm\"", "\"/dev/urandom\"",
                     "/etc/libvirt/qemu.conf"):
            self.assertIn(word, text)

    def test_definition(self):
        """QEMU gets the object, and the device names it; the rest is as on type1."""
        with unittest.mock.patch.object(libvirt, "boot_words", lambda: []):
            root = libvirt.guest_definition(self.CONFIG, 256)
            usual = libvirt.guest_definition(self.TYPE1, 256)
        names = {"qemu": libvirt_guest.QEMU}
        override, = root.findall("qemu:override", names)
        words = override.findall("qemu:device/qemu:frontend/qemu:property", names)
        self.assertEqual({word.get("name"): word.get("value") for word in words},
                         {"enable-migration": "on", "iommufd": "iommufd0"})
        more, = root.findall("qemu:commandline", names)
        arguments = [word.get("value") for word in more]
        self.assertEqual(arguments[:2], ["-object", "iommufd,id=iommufd0"])
        self.assertEqual(arguments[2:],
                         [word.get("value") for word in usual.find("qemu:commandline", names)])
        self.assertEqual(root.find("devices/hostdev").attrib,
                         usual.find("devices/hostdev").attrib)
        self.assertNotIn("iommufd", ElementTree.tostring(usual, encoding="unicode"))

    def test_mdev(self):
        """The device keeps its log, by mdevctl and by libvirt, and udev is waited for."""
        for logs in (False, True):
            done = []
            host = SimpleNamespace(
                run=lambda *words, done=done: done.append(words[1]) or (0, "", ""),
                settle=lambda done=done: done.append("settle"))
            guest = libvirt_guest.Guest(ElementTree.parse(EXAMPLE).getroot(), 1, logs)
            guest.define_mdev(host, "mdma-1")
            self.assertEqual(done, ["define", *(["modify"] * logs), "start", "settle"])
        attribute = "<attr name=\"dirty_log/enabled\" value=\"1\" />"
        self.assertIn(attribute, libvirt.nodedev_definition(self.CONFIG))
        self.assertNotIn("<attr", libvirt.nodedev_definition(self.TYPE1))

    def test_control(self):
        """What loses pages is a device, or with type1 the backend; then the good one is back."""
        done = []
        guest = SimpleNamespace(mdev="U", mdevctl=lambda _, *words: done.append(words),
                                start_mdev=lambda _: done.append("start"))
        host = SimpleNamespace(load_mdma=lambda path: done.append(f"mdma {path}"),
                               load_backend=lambda path: done.append(f"backend {path}"))
        with unittest.mock.patch.object(libvirt.vfio_iommufd, "mdma", lambda: "good"):
            for config in (self.CONFIG, self.TYPE1):
                for broken in (True, False):
                    libvirt.exchange(guest, config, host, broken)
        self.assertEqual(done, [("stop", "-u", "U"), "mdma device", "start",
                                ("stop", "-u", "U"), "mdma good", "start",
                                "backend backend", "backend ours"])


class Example(unittest.TestCase):
    """The domain that users copy, and the test's version of it."""

    def setUp(self):
        self.root = ElementTree.parse(EXAMPLE).getroot()

    def test_is_migratable(self):
        """A plain hostdev, and the override that belongs to it."""
        self.assertEqual(self.root.find("devices/hostdev").attrib,
                         {"mode": "subsystem", "type": "mdev", "model": "vfio-pci"})
        names = {"qemu": libvirt_guest.QEMU}
        word = self.root.find("qemu:override/qemu:device/qemu:frontend/qemu:property", names)
        self.assertEqual(word.attrib,
                         {"name": "enable-migration", "type": "string", "value": "on"})

    def test_mdev_of_the_comment(self):
        """The commands in the comment name the domain's device."""
        guest = libvirt_guest.Guest(self.root, 1)
        text = EXAMPLE.read_text()
        self.assertIn(f"mdevctl define -u {guest.mdev} -p mdma", text)
        self.assertIn(f"mdev_{guest.mdev.replace('-', '_')}_mdma\n", text)

    def test_for_test(self):
        """Everything is added, and nothing of the example is lost."""
        before = {element.tag for element in self.root.iter()}
        root = libvirt_guest.for_test(self.root, 256, ["mdma.window_mb=64"])
        self.assertLessEqual(before, {element.tag for element in root.iter()})
        self.assertEqual(root.find("memory").text, "256")
        self.assertEqual(root.find("memoryBacking/source").get("type"), "memfd")
        self.assertIn("mdma.window_mb=64", root.find("os/cmdline").text)
        self.assertIn("vfio_get_dirty_bitmap", libvirt_guest.Guest(root, 1).xml)


class Wire(unittest.TestCase):
    """wire.two_ends()."""

    def test_two_ends_of_one_socket(self):
        """One end listens, both have the same path but different addresses; afterwards the socket
        is gone."""
        with wire.two_ends() as ends:
            netdevs = [end[1].split(",") for end in ends]
            paths = {word for words in netdevs for word in words if word.startswith("addr.path=")}
            self.assertEqual(len(paths), 1)
            path = Path(paths.pop().partition("=")[2])
            self.assertEqual(path.parent.stat().st_mode & 0o777, 0o700)
            self.assertLess(len(str(path)), 100)
            self.assertEqual(["server=on" in words for words in netdevs], [True, False])
            self.assertNotEqual(ends[0][3], ends[1][3])
        self.assertFalse(path.parent.exists())

    def test_scenarios_with_two_hosts(self):
        """Only libvirt needs two."""
        self.assertEqual([name for name in scenario.names() if scenario.hosts(name) == 2],
                         ["libvirt"])


if __name__ == "__main__":
    unittest.main()
