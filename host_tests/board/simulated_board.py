"""Simulated board on a serial port: a pseudo-terminal whose other end is the real MicroPython VM.

It adds the parts of a board that the VM lacks: the soft reset by Ctrl-D, which runs `boot.py` and `main.py`,
the ROM bootloader of an ESP32 (`esp32-mock-bootloader`) and the UF2 drive of an RP2040.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import socket
import subprocess
import termios
import threading
import time
import tty
from pathlib import Path

from esp32_mock_bootloader.server import BootloaderConnection, FlashImage, handle_client

from host_tests.simulated_hardware import BOOTLOADER, HALTED, MODULES, RESET, WATCHDOG, SimulatedIO, unique_id
from tools.vm import process

# The VM runs this script and then starts the REPL. The board's folder becomes the root of the filesystem, so
# that a program cannot access the files of this computer. The script imports the simulated hardware modules
# and then unmounts their folder, so that they behave like built-in modules.
_START = """
import os, sys, vfs
vfs.umount("/")
vfs.mount(vfs.VfsPosix(%r), "/sim")
sys.path[:] = ["/sim", ".frozen"]
import dht, ds18x20, machine, neopixel, network, onewire
__import__("rp2" if "rp2" in (os.getenv("SIM_CHIP") or "") else "esp32")
vfs.umount("/sim")
vfs.mount(vfs.VfsPosix(%r), "/")
os.chdir("/")
sys.path[:] = ["", ".frozen", "/lib"]
sys.stdout.write(%r)
for name in %r:
    if name + ".py" in os.listdir():
        __import__(name)
"""
# The VM prints this marker when it is ready for input. Before that, Ctrl-C would end the VM.
_READY = "\x05\x06"
_REBOOT = b"MPY: soft reboot\r\n"
FILESYSTEM_OFFSET = 0x200000  # offset of MicroPython's filesystem in 4 MB of flash


class FlashChip(FlashImage):  # type: ignore[misc]
    """The flash memory of an ESP32. esptool writes it through the ROM bootloader."""

    def contains(self, firmware: bytes, offset: int) -> bool:
        return bool(self.data[offset : offset + len(firmware)] == firmware)


class SimulatedBoard:
    """A board that stays plugged in until `unplug()` or until it receives more than `unplug_after_bytes`.

    `folder` holds its filesystem. `port` is the path of its serial port, for `--port`.

    An Espressif `chip` has a ROM bootloader, and runs MicroPython only if `flash` contains `firmware` at
    `offset`. `drive` is the folder of an RP2040's UF2 bootloader: the board runs MicroPython and has a
    port after `firmware` has been copied there. Without `chip` and `drive`, the board runs MicroPython, on
    `microcontroller`.

    Its watchdog is as unkind as that of a board: neither Ctrl-C nor a soft reset stops it, and it resets the
    board 8 s after the last `feed()`, multiplied by `watchdog_scale`. `watchdog_resets` counts this.

    To plug the same board in again, make a new SimulatedBoard with the same `folder` and `flash`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        chip: str | None = None,
        firmware: bytes = b"",
        offset: int = 0,
        drive: Path | None = None,
        drive_id: str = "RPI-RP2",
        flash: FlashChip | None = None,
        unplug_after_bytes: int | None = None,
        heap: str = "256k",
        watchdog_scale: float = 1,
        microcontroller: str | None = None,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.flash = flash or FlashChip()
        self.received = 0  # number of bytes received through the port
        self.unplugged = threading.Event()
        self._unplug_after_bytes = unplug_after_bytes
        self.drive, self._drive_id = drive, drive_id
        self.vm_starts = 0  # number of times that the VM was started
        self._chip, self._firmware, self._offset = chip, firmware, offset
        # the microcontroller that is simulated
        self._mcu = microcontroller or ("rp2040" if drive else chip or "esp32")
        self.unique_id = unique_id(self._mcu)
        self.io = SimulatedIO(folder.parent / f"{folder.name}-io")  # pins and other inputs of the chip
        self.io.folder.mkdir(exist_ok=True)
        self._heap = heap
        self._watchdog_scale = watchdog_scale
        self.watchdog_resets = 0
        self._raw = False  # whether the VM is in the raw REPL
        self._in_frame = False  # whether a frame of the ROM bootloader's protocol is open
        self._vm: subprocess.Popen[bytes] | None = None
        self._vm_fd = -1
        self._ready = False
        self._early_input = b""  # input received before the VM was ready
        self._rom: socket.socket | None = None
        self._port_fd, self._slave_fd = os.openpty()
        tty.setraw(self._slave_fd)
        self._name = os.ttyname(self._slave_fd)
        # The port is a symlink, because the kernel may give the name of this pseudo-terminal to the next
        # board, and a program that still uses the port of this board must not open the next board.
        self.port = str(folder.parent / f"{folder.name}-port")
        self._lock = threading.Lock()
        self._stop = threading.Event()
        if drive:
            self._show_drive()
        else:
            os.symlink(self._name, self.port)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # ---- plugging in and unplugging

    def __enter__(self) -> SimulatedBoard:
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def unplug(self) -> None:
        """Unplug the board. A program that has the port open gets an error."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join(10)
        self._unplug_now()

    def _unplug_now(self) -> None:
        if self.unplugged.is_set():
            return
        self._end_vm()
        if self._rom:
            self._rom.close()
        Path(self.port).unlink(missing_ok=True)
        for fd in (self._port_fd, self._slave_fd):
            os.close(fd)
        self.unplugged.set()

    @property
    def runs_micropython(self) -> bool:
        if self.drive:
            return not (self.drive / "INFO_UF2.TXT").exists()
        return not self._chip or self.flash.contains(self._firmware, self._offset)

    # ---- data from the port and the VM

    def _run(self) -> None:
        if self.runs_micropython and not self.drive:
            self._start_vm(("boot", "main"))
        while not self._stop.is_set():
            if self.drive and not self.runs_micropython:
                self._check_drive()
            self._restart_ended_vm()
            fds = [
                fd for fd in (self._port_fd, self._vm_fd, self._rom.fileno() if self._rom else -1) if fd >= 0
            ]
            for fd in select.select(fds, [], [], 0.02)[0]:
                with contextlib.suppress(OSError):
                    data = os.read(fd, 65536)
                    if fd == self._port_fd:
                        self.received += len(data)
                        if self._unplug_after_bytes is not None and self.received > self._unplug_after_bytes:
                            self._unplug_now()
                            return
                        self._from_port(data)
                    elif fd == self._vm_fd:
                        self._from_vm(data)
                    else:
                        self._write(self._port_fd, data)

    def _from_port(self, data: bytes) -> None:
        if self._chip:
            if self._rom is None and data[:1] == b"\xc0":
                self._start_rom()
            elif self._rom is not None and not self._in_frame and data[:1] in b"\r\x03\x02":
                self._rom.close()
                self._rom = None
            if self._rom is not None:
                # a SLIP frame begins and ends with this byte
                self._in_frame ^= bool(data.count(b"\xc0") & 1)
                self._rom.sendall(data)
                return
        if self._vm_fd < 0:
            if not self.runs_micropython:
                return  # no firmware is running that could answer
            self._start_vm(("boot", "main"))
        if self._ready:
            self._write(self._vm_fd, data)
        else:
            self._early_input += data

    def _from_vm(self, data: bytes) -> None:
        if not self._ready and _READY.encode() in data:
            data = data.replace(_READY.encode(), b"", 1)
            self._ready = True
            early_input, self._early_input = self._early_input, b""
            self._write(self._vm_fd, early_input)
        raw, friendly = data.rfind(b"raw REPL; CTRL-B"), data.rfind(b'"help()"')
        if raw != friendly:
            self._raw = raw > friendly
        self._write(self._port_fd, data)

    def _write(self, fd: int, data: bytes) -> None:
        while data and not self._stop.is_set():
            if select.select([], [fd], [], 0.1)[1]:
                data = data[os.write(fd, data) :]

    # ---- the VM

    def _start_vm(self, files: tuple[str, ...]) -> None:
        if self._chip and self.flash.data[FILESYSTEM_OFFSET] == 0xFF:
            self._format()
        master, slave = os.openpty()
        mode = termios.tcgetattr(slave)
        mode[1] &= ~termios.OPOST
        mode[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, mode)
        start = _START % (str(MODULES), str(self.folder), _READY, files)
        self._ready = False
        self._vm = subprocess.Popen(
            [process.find_executable(), "-X", f"heapsize={self._heap}", "-i", "-c", start],
            cwd=self.folder,
            env=dict(
                os.environ,
                UNIQUE_ID=self.unique_id.hex(),
                SIM_DIR=str(self.io.folder),
                SIM_CHIP=self._mcu,
                SIM_WATCHDOG_SCALE=str(self._watchdog_scale),
            ),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C becomes SIGINT
        )
        os.close(slave)
        self._vm_fd = master
        self.vm_starts += 1

    def _format(self) -> None:
        """Empty the filesystem, because esptool has erased the flash."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self.flash.data[FILESYSTEM_OFFSET] = 0

    def _restart_ended_vm(self) -> None:
        """If the VM has ended, start it again: the board reboots."""
        if self._vm is None or self._vm.poll() is None:
            return
        code = self._vm.returncode
        with contextlib.suppress(OSError):
            while select.select([self._vm_fd], [], [], 0)[0]:
                self._write(self._port_fd, os.read(self._vm_fd, 65536))
        self._end_vm()
        if code == WATCHDOG:  # SIGKILL, by the watchdog or in an interrupt handler
            self.watchdog_resets += 1
        if code in (WATCHDOG, RESET):
            self._raw = False
        elif self.io["watchdog"] and not self.io["end"]:
            self.io["end"] = "soft=1"  # `machine` then keeps the watchdog running
        if code == BOOTLOADER and self.drive:
            Path(self.port).unlink(missing_ok=True)
            self._show_drive()
            return
        self._write(self._port_fd, _REBOOT)
        if code == HALTED:
            self._start_vm(())
        elif self._raw:
            self._start_vm(("boot",))
            self._write(self._vm_fd, b"\x01")
        else:
            self._start_vm(("boot", "main"))

    def _end_vm(self) -> None:
        if self._vm is not None:
            self._vm.kill()
            self._vm.wait()
            os.close(self._vm_fd)
        self._vm, self._vm_fd = None, -1

    # ---- bootloaders

    def _start_rom(self) -> None:
        self._end_vm()
        self._in_frame = False
        self._rom, rom_end = socket.socketpair()
        threading.Thread(
            target=handle_client,
            args=(BootloaderConnection(sock=rom_end), self._stop, self._chip),
            kwargs={"flash": self.flash},
            daemon=True,
        ).start()

    def _show_drive(self) -> None:
        assert self.drive
        self.drive.mkdir(parents=True, exist_ok=True)
        (self.drive / "INFO_UF2.TXT").write_text(
            f"UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: {self._drive_id}\n"
        )

    def _check_drive(self) -> None:
        """If the complete firmware is on the drive, remove it and restart the board with MicroPython."""
        assert self.drive
        for path in set(self.drive.iterdir()) - {self.drive / "INFO_UF2.TXT"}:
            if path.read_bytes() == self._firmware:
                path.unlink()
                (self.drive / "INFO_UF2.TXT").unlink()
                time.sleep(0.05)  # a board's drive disappears before its port appears
                os.symlink(self._name, self.port)
