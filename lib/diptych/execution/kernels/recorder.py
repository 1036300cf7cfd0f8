"""Notes what a notebook reads while it runs; the engine sends this file into each kernel.

It is self-contained: a kernel of another environment need not have this package. Python announces
what it opens, lists, starts and connects to (`sys.addaudithook`); environment variables and
questions whether a file exists are seen where the standard library looks them up. What nobody
announces (the clock, random numbers, libraries that read past Python) is looked for in the code
that ran, by the names it refers to.

Each note is a line of JSON, appended at once, so that forked processes note theirs too:

``["read", path, size, mtime]``, ``["wrote", path]``, ``["list", path, names]``,
``["exists", path, kind]``, ``["tree", path]``, ``["variable", name, by_user]``,
``["folder", path]``, ``["module", name]``, ``["path", path]``, ``["unknown", why]``,
``["drawn", why]`` (by a library, as far as known) and at last ``["end"]``.

"User's" is code of cells and of modules outside the installed packages. A library's own use of
the clock or of identifiers is not the notebook's.
"""

import _thread
import contextlib
import datetime
import dis
import functools
import json
import os
import random
import re
import site
import sys
import sysconfig
import types

NAME = "_diptych_recorder"  # among the modules
USER, OURS, LIBRARY, STANDARD, UNNAMED = "user", "ours", "library", "standard", "unnamed"
# Between a cell and the process it starts by `!`.
TRANSPARENT = re.compile(r"[/\\](IPython|ipykernel|pexpect|ptyprocess)[/\\]")
# What libraries start to learn about the machine.
HARMLESS = {
    "uname", "lscpu", "nproc", "ldconfig", "gcc", "cc", "ld", "objdump", "getconf", "fc-list",
    "nvidia-smi", "which", "sysctl", "stty", "tput", "lsb_release", "file", "arch",
}  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND
SYSTEM = ("/proc/", "/sys/", "/dev/")
# How many processors there are, which libraries ask before they start threads.
PROCESSORS = ("/sys/fs/cgroup/cpu", "/sys/devices/system/cpu/", "/dev/null", "/dev/shm/")
SEEDS = {
    "seed", "set_seed", "seed_all", "seed_everything", "manual_seed", "set_random_seed",
    "set_state", "setstate",
}  # fmt: skip
TIMES = {
    "readlink", "getxattr", "disk_usage", "getloadavg", "st_mtime", "st_ctime", "st_atime",
    "st_mtime_ns", "getmtime", "getctime", "getatime", "st_size", "getsize",
}  # fmt: skip
FRESH = (None, 623, 624)  # where NumPy's shared generator stands after it was seeded
UNSEEDED = "it draws random numbers without a seed"
ASKING = re.compile(r"diptych\.(llmops|core)|(ask|client|run|sweep|report)$")
ATTACH = re.compile(r"\battach\b", re.I)
TODAYS = ("now", "today", "utcnow")
MOST_NAMES, LONGEST_NAME = 1000, 1024
ALWAYS = 90  # more arguments than anyone gives
TODAY = re.compile(
    r"now|today|\d?\d:\d\d(:\d\d)?( ?[ap]m)?"  # a time of the day is one of today
    r"|.*(current_(date|time|timestamp)\b|\b(utc)?now\(\)|\btoday\(\)|date\('now').*",
    re.IGNORECASE | re.DOTALL,
)
TODAY_READERS = {"Timestamp", "to_datetime", "datetime64", "Period", "PeriodIndex", "DatetimeIndex",
                 "date_range", "bdate_range", "period_range", "execute", "read_sql",
                 "read_sql_query", "sql", "query", "eval"}  # fmt: skip
# Libraries whose compiled code opens files or connections itself, and by what it does.
NATIVE = {
    "pyarrow": r"(read|open)_\w+|memory_map|OSFile|MemoryMappedFile|input_stream|dataset"
    r"|Parquet(File|Dataset)|ORCFile|LocalFileSystem|SubTreeFileSystem",
    "pandas": r"read_(hdf|orc|spss|sql\w*)|HDFStore",
    "polars": r"(read|scan)_\w+|SQLContext|sql",
    "duckdb": r"sql|query|execute\w*|connect|read_\w+|from_\w+|default_connection|table",
    "deltalake": r"QueryBuilder",  # of DeltaTable see `watch_delta`
    "xgboost": r"load_\w+|Booster|DMatrix|QuantileDMatrix|ExtMemQuantileDMatrix",
    "lightgbm": r"Booster|Dataset|load_\w+",
    "catboost": r"load_\w+|Pool",
    "transformers": r"from_pretrained|pipeline",
    "sentence_transformers": r"SentenceTransformer|CrossEncoder",
    "datasets": r"load_\w+|from_\w+",
    "safetensors": r"safe_open|load_file|load_model",
    "tokenizers": r"from_file|from_pretrained",
    "mlflow": r"load_\w+|search_\w+|get_\w+|pyfunc|set_tracking_uri",
    "dask": r"read_\w+|Client",
    "distributed": r"Client|LocalCluster",
    "joblib": r"Parallel",  # in processes that share nothing with the kernel
    "multiprocessing": r"get_context|set_start_method",
    "xarray": r"open_\w+|load_\w+",
    "geopandas": r"read_\w+",
    "python_calamine": r"load_workbook|from_path|from_object",
    "cv2": r"im\w*read\w*|VideoCapture|FileStorage|load\w*|readNet\w*",
    "lxml": r"parse|iterparse|XSLT|XMLSchema|RelaxNG",
    "torch": r"jit|from_file|hub",
    "sqlalchemy": r"create_\w*engine\w*|engine_from_config",
    **dict.fromkeys(
        ("ray", "h5py", "tables", "netCDF4", "rasterio", "fiona", "pyogrio", "osgeo", "soundfile",
         "torchaudio", "torchvision", "faiss", "onnxruntime", "llama_cpp", "xllamacpp",
         "sentencepiece", "fasttext", "fastexcel", "pyreadstat", "vaex", "datatable", "connectorx",
         "lmdb", "rocksdb", "pysam", "openslide", "av", "lance", "rpy2", "jpype", "pyspark",
         "psycopg", "psycopg2", "asyncpg", "MySQLdb", "pymysql", "oracledb", "pyodbc", "pymssql",
         "snowflake", "pymongo", "redis", "cassandra", "clickhouse_driver", "grpc", "zmq",
         "pycurl", "boto3", "psutil", "vl_convert", "cffi"), r".*",
    ),
}  # fmt: skip


def _clock() -> dict:
    """Return functions that read the clock, and how many arguments keep them from it."""
    import time

    now = {time.localtime: 1, time.gmtime: 1, time.ctime: 1, time.asctime: 1, time.strftime: 2}
    always = (time.time, time.time_ns, getattr(time, "clock_gettime", None))
    return dict.fromkeys(filter(None, always), ALWAYS + 1) | now


# Of Python, IPython and matplotlib: caches, and names of what is no file.
NO_FILE = re.compile(
    r"[/\\](__pycache__[/\\].*|ipykernel_\d+[/\\]\d+\.py|fontlist-\S+\.json|<[^/\\]*>)$|\n"
)
IN_MEMORY = re.compile(r"^/dev/|[/\\]pymp-|^\0|^$")  # the log; between processes of one program
SPAWNING = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver")
IMPORTING = re.compile(r"^<frozen importlib|[/\\]importlib[/\\_]metadata[/\\]|[/\\]pkgutil\.py$")
LOADS = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF")
STORES = ("STORE_NAME", "STORE_GLOBAL", "STORE_FAST", "STORE_DEREF")


class Recorder:
    """What one kernel notes.

    Parameters
    ----------
    path : str
        Where notes are appended.
    ignored : list of str
        Folders whose files are no inputs: the workspace, the run's own folder.
    package : str
        Folder of the package that notes its own reads elsewhere.
    """

    def __init__(self, path, ignored, package):
        self.path, self.pid = path, os.getpid()
        self.busy, self.noted, self.written = set(), set(), set()
        self.codes, self.bulk, self.seeded, self.texts = [], set(), set(), set()
        self.is_drawing, self.questions, self.readers = False, set(), set()
        self.is_watching, self.is_asking, self.servers = False, False, set()
        self.is_watching_delta = False
        self.package = package.rstrip(os.sep) + os.sep
        self.ignored = tuple(folder.rstrip(os.sep) + os.sep for folder in ignored)
        self.standard, self.installed = _installed()
        self.kinds = {__file__: STANDARD}  # its own frames
        self.random, self.numpy = random.getstate(), _numpy_position()
        self.is_on = True
        self.handlers = {
            "open": self.opened,
            "exec": self.executed,
            "import": self.imported,
            "os.listdir": self.listed,
            "os.scandir": self.listed,
            "os.rename": self.moved,
            "os.link": self.moved,
            "os.symlink": lambda source, target, *_: self.moved(
                os.path.join(os.path.dirname(os.fsdecode(target)), os.fsdecode(source)), target
            ),
            "os.mkdir": lambda target, *_: self.wrote(target),
            "sqlite3.connect": self.connected_to_file,
            "socket.connect": lambda _, address: self.connected(address),
            "socket.sendto": lambda _, address: self.connected(address),
            "subprocess.Popen": lambda program, words, *_: self.started([program, words]),
            "os.system": lambda command: self.started([command]),
            "os.exec": lambda program, words, _: self.started([program, words]),
            "os.posix_spawn": lambda program, words, _: self.started([program, words]),
            "os.spawn": lambda _, program, words, __: self.started([program, words]),
            "ctypes.dlopen": self.loaded,
        }

    def hook(self):
        """Return what Python calls with each event: many events, so it must be quick."""
        handler_of, guarded = self.handlers.get, self.guarded

        def hook(event, arguments):
            handler = handler_of(event)
            if handler is not None and self.is_on:
                guarded(handler, *arguments)

        return hook

    def guarded(self, handler, *arguments):
        """Call a handler whose own reads are not noted."""
        thread = _thread.get_ident()
        if thread in self.busy:
            return
        self.busy.add(thread)
        try:
            handler(*arguments)
        except Exception as error:
            self.note("unknown", f"its notes could not be taken ({error!r})")
        finally:
            self.busy.discard(thread)

    def note(self, *content):
        """Append a note, each once."""
        line = json.dumps(content)
        if line in self.noted:
            return
        self.noted.add(line)
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode() + b"\n")
        finally:
            os.close(file)

    # -- files

    def opened(self, path, mode, flags):
        """Note a file that is opened."""
        if isinstance(path, int) or path is None:
            return
        place = self.place(path)
        if place in self.written or self.is_ignored(place):
            return
        flags = flags or 0
        is_new = flags & (os.O_TRUNC | os.O_EXCL) or not os.path.lexists(place)
        if not (flags & WRITING and is_new):
            self.read(place)  # also a file that it adds to, or changes a part of
        if flags & WRITING:
            self.wrote(place)

    def read(self, place):
        """Note a file that is read."""
        if ("read", place) in self.noted:
            return
        self.noted.add(("read", place))
        if not place.startswith(SYSTEM):
            self.note("read", place, *_stamp(place))
        elif not place.startswith(PROCESSORS) and self.responsible()[0] == USER:
            self.note("unknown", f"it reads {place}, which changes by itself")

    def moved(self, source, target, *_):
        """Note a file that gets another name, under which it may be read."""
        place = self.place(source)
        if os.path.isfile(place) and place not in self.written and not self.is_ignored(place):
            self.read(place)
        self.wrote(target)

    def wrote(self, path):
        """Note a file or folder that the run makes or changes."""
        place = self.place(path)
        if place in self.written or self.is_ignored(place) or place.startswith(SYSTEM):
            return
        self.written.add(place)
        self.note("wrote", place)

    def listed(self, path=None):
        """Note the names in a folder; not what `import` looks through."""
        if _is_import(sys._getframe(3)):
            return
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        place = self.place("." if path is None else path)
        if f"{place}{os.sep}".startswith(SYSTEM):
            return
        if ("list", place) in self.noted or self.is_ignored(place) or place in self.written:
            return
        if f"{place}{os.sep}".startswith(SYSTEM):
            return
        self.noted.add(("list", place))
        if os.path.isdir(place):
            self.note("list", place, sorted(os.listdir(place)))
        else:
            self.exists(place)

    def exists(self, path):
        """Note whether a file or folder is there."""
        if isinstance(path, int) or path is None:
            return
        place = self.place(path)
        if ("exists", place) in self.noted or self.is_ignored(place) or place in self.written:
            return
        self.noted.add(("exists", place))
        kind = "" if place.startswith(SYSTEM) else _kind_of(place)
        if kind == "file":
            self.read(place)  # compiled code may read next what Python only looked for
        elif not place.startswith(SYSTEM):
            self.note("exists", place, kind)

    def asked(self, frame):
        """Note what a function of the standard library asks the system about a file."""
        if frame.f_code.co_name == "_joinrealpath":
            return
        names = frame.f_code.co_varnames
        path = frame.f_locals.get(names[0]) if names else None
        if type(path) is str and path[:1] == os.sep:
            if path in self.questions:
                return
            self.questions.add(path)
        if isinstance(path, (str, bytes, os.PathLike)) and not _is_import(frame.f_back):
            self.exists(path)

    def read_tree(self, path):
        """Note all that lies in a folder that a library reads as one table."""
        place = self.place(path)
        if os.path.isdir(place) and not self.is_ignored(place):
            self.note("tree", place)

    def connected_to_file(self, database):
        """Note the file of an SQLite database."""
        name = os.fsdecode(database)
        if name.startswith("file:"):
            from urllib.parse import unquote

            name = unquote(name[5:].partition("?")[0])
            name = "/" + name.lstrip("/") if name.startswith("//") else name
        if name in ("", ":memory:") or name.startswith(":memory:"):
            return
        place = self.place(name)
        if place in self.written or self.is_ignored(place):
            return
        if os.path.lexists(place):
            self.read(place)
            self.exists(f"{place}-wal")
        else:  # it makes this database itself, as one of a temporary folder
            for part in ("", "-journal", "-wal", "-shm"):
                self.wrote(f"{place}{part}")

    def loaded(self, name):
        """Note a compiled library of the user's own."""
        if isinstance(name, str) and os.sep in name and os.path.isfile(name):
            place = self.place(name)
            if not self.is_ignored(place):
                self.read(place)

    # -- environment variables

    def meet(self, name, frame):
        """Note a variable that is read by its name, once for each place that reads it."""
        back = frame and frame.f_back
        readers = name, frame and frame.f_code, back and back.f_code
        if readers not in self.readers and isinstance(name, (str, bytes)):
            self.guarded(self.read_variable, os.fsdecode(name), readers)

    def read_variable(self, name, readers):
        """Note a variable that is read; not if a library copies all of them for a process."""
        owner = self.responsible()[0]
        if owner != USER and name in self.bulk:
            self.bulk.discard(name)
        else:
            self.readers.add(readers)
            self.note("variable", name, owner == USER)

    def read_variables(self, name):
        """Note that all are read, if the user's code does; a library copies them for a process."""
        self.bulk.add(os.fsdecode(name))
        if self.responsible()[0] == USER:
            self.note("variable", "*", True)

    # -- processes and connections

    def started(self, words):
        """Note a process: the files that it is started on, and that its reads are not seen."""
        nearest, responsible = self.responsible()
        if responsible == OURS:
            return
        flat = [os.fsdecode(word) for word in _flat(words)]
        program = os.path.basename((flat[0].split() or [""])[0]) if flat else ""
        if nearest == LIBRARY and program in HARMLESS:
            return
        for word in (part for text in flat for part in text.replace("'", " ").split()):
            place = self.place(word.strip("\"';"))
            if os.path.isfile(place) and not self.is_ignored(place):
                self.read(place)
        shown = (flat[-1] if len(flat) > 1 and flat[-1] else program)[:80]
        self.note("unknown", f"it starts a process, whose own reads are not seen ({shown})")

    def connected(self, address):
        """Note a connection.

        A library makes some in threads and tasks, where no code of the user's is to be seen; those
        to this machine may be to the model server that this package starts.
        """
        responsible = self.responsible()[1]
        if not isinstance(address, tuple):
            if responsible == USER and not IN_MEMORY.search(os.fsdecode(address)):
                self.note("unknown", f"it reads from a socket ({os.fsdecode(address)})")
            return
        host = str(address[0])
        is_here = host.startswith("127.") or host in ("::1", "localhost", "0.0.0.0", "::")
        serving = sys.modules.get("diptych.base.serving")
        if is_here and address[1] in getattr(serving, "OWN_PORTS", ()):
            return  # a server of this package, whose files are noted
        if is_here and responsible == LIBRARY:
            self.servers.add(host)
        elif responsible != OURS:
            self.note("unknown", f"it reads from the network ({host})")

    # -- code

    def executed(self, code):
        """Keep code of the user's that runs, to look through it at the end."""
        if not isinstance(code, types.CodeType):
            return
        self.watch_tables()
        self.watch_delta(code)
        kind = self.kind(code.co_filename)
        if kind == UNNAMED:
            kind = self.responsible(steps=True)[0]
        if kind != USER:
            return
        self.codes.append(code)
        place = os.path.abspath(code.co_filename)
        if os.path.isfile(place) and not self.is_ignored(place):
            self.read(place)

    def imported(self, name, file, *_):
        """Note which packages are imported, and a compiled module of the user's own."""
        self.note("module", name.partition(".")[0])
        if file and self.kind(file) == USER and not self.is_ignored(self.place(file)):
            self.read(self.place(file))

    def sought(self, name, places):
        """Note a module that is looked for, also in vain: it may be there the next time."""
        self.note("module", name.partition(".")[0])
        for folder in places or ():
            place = self.place(folder)
            if not self.is_ignored(place):
                leaf = os.path.join(place, name.rpartition(".")[2])
                self.exists(f"{leaf}.py")
                self.exists(leaf)

    def watch_tables(self):
        """See what pandas reads and writes as Parquet, which its library opens past Python."""
        module = sys.modules.get("pandas.io.parquet")
        function = getattr(module, "stringify_path", None)
        if function is None or self.is_watching:
            return
        self.is_watching = True
        handlers = {"read": self.read_tables, "write": self.wrote_table}

        @functools.wraps(function)
        def stringify_path(path, *arguments, **options):
            handler = handlers.get(sys._getframe(2).f_code.co_name)
            if self.is_on and handler is not None:
                self.guarded(handler, path)
            return function(path, *arguments, **options)

        module.stringify_path = stringify_path

    def watch_delta(self, code):
        """See which Delta tables are opened, whose library reads past Python.

        A cell that imports it has it imported a moment before, so that its first table is seen.
        """
        if self.is_watching_delta:
            return
        if "deltalake" not in sys.modules:
            if not _names(code, "deltalake"):
                return
            try:
                __import__("deltalake")
            except ImportError:
                return
        table = getattr(sys.modules["deltalake"], "DeltaTable", None)
        if table is None:
            return
        self.is_watching_delta, opened = True, table.__init__

        @functools.wraps(opened)
        def opens(this, table_uri, *arguments, **options):
            if self.is_on and self.responsible()[1] != OURS:
                self.guarded(self.read_tables, table_uri)
            return opened(this, table_uri, *arguments, **options)

        table.__init__ = opens

    def wrote_table(self, path):
        """Note a file or folder that is written as a table."""
        if isinstance(path, (str, bytes, os.PathLike)):
            self.wrote(os.path.expanduser(path))

    def read_tables(self, paths):
        """Note the files and folders that are read as one table."""
        for path in paths if isinstance(paths, (list, tuple)) else [paths]:
            if not isinstance(path, (str, bytes, os.PathLike)):
                continue
            name = os.fsdecode(path)
            if name.startswith("file:"):
                name = "/" + name[5:].lstrip("/")
            place = self.place(os.path.expanduser(name))
            if place in self.written or self.is_ignored(place):
                continue
            if os.path.isdir(place):
                self.read_tree(place)
            elif os.path.isfile(place):
                self.read(place)
            elif "://" in name:
                self.note("unknown", f"it reads from the network ({name.partition('?')[0]})")

    def finish(self):
        """Note what can be told only at the end."""
        self.is_on = False
        for code, names in self.codes_with_names():
            references = References(names)
            references.look(code)
            for why in references.unknown():
                self.note("unknown", why)
            self.seeded |= references.seeded
            self.texts |= references.texts
            self.is_drawing |= references.is_drawing
            self.is_asking |= references.is_asking()
        for host in sorted(() if self.is_asking else self.servers):
            self.note("unknown", f"it reads from the network ({host})")
        for name in filter(sys.modules.__contains__, SPAWNING):
            self.note("unknown", f"it starts processes, whose own reads are not seen ({name})")
        self.note_random()
        self.note_named()
        for name in {name.partition(".")[0] for name in list(sys.modules)}:
            self.note("module", name)
        for name in list(sys.path):
            place = os.path.abspath(name or ".")
            if not self.is_ignored(place):
                self.note("path", place)
        self.note_settings()
        if os.getpid() == self.pid:
            self.note("end")

    def codes_with_names(self):
        """Yield the user's code with the names that it sees, all of one file at once."""
        files = {getattr(module, "__file__", None): module for module in list(sys.modules.values())}
        main = vars(sys.modules["__main__"])
        for code in self.codes:
            module = files.get(code.co_filename)
            yield code, main if module is None else vars(module)

    def note_named(self):
        """Note the files that the code names: compiled code may have read what nobody saw."""
        values = list(vars(sys.modules["__main__"]).values())
        for listed in [value for value in values if type(value) in (list, tuple)]:
            values += listed[:MOST_NAMES]
        self.texts |= {os.fspath(one) for one in values if isinstance(one, (str, os.PathLike))}
        for text in self.texts:
            if isinstance(text, str) and 0 < len(text) < LONGEST_NAME and "\0" not in text:
                place = os.path.abspath(text)
                if (
                    os.path.isfile(place)
                    and place not in self.written
                    and not self.is_ignored(place)
                ):
                    self.note("folder", os.getcwd())
                    self.read(place)

    def note_random(self):
        """Note that the generators that all share were drawn from, and nobody seeded them."""
        drawn = {
            "random": self.random != random.getstate(),
            "numpy.random": _numpy_position() not in (self.numpy, *FRESH),
        }
        for name in [name for name in drawn if drawn[name] and name not in self.seeded]:
            self.note("unknown" if self.is_drawing else "drawn", f"{UNSEEDED} ({name})")

    def note_settings(self):
        """Note the settings that matplotlib and IPython read before a notebook could be watched."""
        shell = sys.modules["__main__"].__dict__.get("get_ipython")
        if shell is not None:
            profile = shell().profile_dir
            for name in ("ipython_config.py", "ipython_kernel_config.py"):
                self.read(os.path.join(profile.location, name))
            for name in sorted(os.listdir(profile.startup_dir)):
                self.read(os.path.join(profile.startup_dir, name))
        if "matplotlib" in sys.modules:
            self.read(self.place("matplotlibrc"))
            folder = sys.modules["matplotlib"].get_configdir()
            self.read(os.path.join(folder, "matplotlibrc"))
            styles = os.path.join(folder, "stylelib")
            for name in os.listdir(styles) if os.path.isdir(styles) else ():
                self.read(os.path.join(styles, name))
            for name in ("MATPLOTLIBRC", "MPLCONFIGDIR", "MPLBACKEND"):
                self.note("variable", name, True)
            if chosen := os.environ.get("MATPLOTLIBRC"):
                self.read(self.place(chosen))

    # -- whose it is

    def place(self, path):
        """Return a path as it is found from everywhere."""
        path = os.fsdecode(path)
        if not os.path.isabs(path):
            self.note("folder", os.getcwd())
        return os.path.abspath(path)

    def is_ignored(self, place):
        """Say whether a file is no input of its own: installed, or the workspace's."""
        return f"{place}{os.sep}".startswith(
            (*self.ignored, *self.standard, *self.installed, self.package)
        ) or NO_FILE.search(place)

    def kind(self, file):
        """Return whose the code of a file is."""
        if file not in self.kinds:
            self.kinds[file] = self._kind(file)
        return self.kinds[file]

    def _kind(self, file):
        if "ipykernel_" in file or file.startswith("<ipython"):
            return USER
        if file.startswith("<frozen"):
            return STANDARD
        if file.startswith("<"):
            return UNNAMED
        if file.startswith(self.package):
            return OURS
        if file.startswith(self.installed):
            return STANDARD if TRANSPARENT.search(file) else LIBRARY
        return STANDARD if file.startswith(self.standard) else USER

    def responsible(self, steps=False):
        """Return whose code is nearest and whose is responsible: the user's, ours, a library's."""
        nearest, frame = "", sys._getframe(2)
        while frame is not None:
            kind = self.kind(frame.f_code.co_filename)
            if kind not in (STANDARD, UNNAMED):
                nearest = nearest or kind
                if steps or kind in (USER, OURS):
                    return nearest, kind
            frame = frame.f_back
        return nearest or LIBRARY, LIBRARY


def _names(code, name):
    """Say whether a piece of code, or a function in it, names something."""
    inner = (x for x in code.co_consts if isinstance(x, types.CodeType))
    return any(x.partition(".")[0] == name for x in code.co_names) or any(
        _names(x, name) for x in inner
    )


class References:
    """What a piece of code refers to, as far as its names can be resolved without running it.

    Parameters
    ----------
    names : dict
        The global names that it sees.
    """

    def __init__(self, names):
        self.names, self.roots, self.attributes, self.texts = names, set(), set(), set()
        self.clocks, self.draws, self.asked = set(), set(), set()
        self.owners, self.unowned = {}, set()
        self.seeded, self.is_drawing = set(), False
        self.functions = _clock()

    def look(self, code, aliases=None):
        """Look through a code object and those in it."""
        aliases = dict(aliases or {})
        self.attributes.update(code.co_names)
        steps = [step for step in dis.get_instructions(code) if step.opname != "CACHE"]
        value = module = imported = None
        for at, step in enumerate(steps):
            name, word = step.opname, step.argval
            if name == "IMPORT_NAME":
                module = imported = self._import(word, steps[at - 1].argval)
            elif name == "IMPORT_FROM":
                self._note_owner(module, word)
                imported = _of(module, word) or _of(imported, word)
            elif name.startswith("STORE_"):
                _alias(aliases, name, word, value, imported)
                value = imported = None
            elif name.startswith(LOADS):
                word = word[-1] if isinstance(word, tuple) else word
                value = aliases.get(word, self.names.get(word))
                self._note_owner(None, word)
                self._judge(None, word, value, _count(steps, at))
            elif name in ("LOAD_ATTR", "LOAD_METHOD"):
                owner, value = value, _of(value, word)
                self._judge(owner, word, value, _count(steps, at))
                self._note_owner(owner, word)
            elif name not in ("SWAP", "ROT_TWO", "POP_TOP", "PUSH_NULL"):
                value = None
        self._look_inside(code.co_consts, aliases)

    def _look_inside(self, constants, aliases):
        for constant in constants:
            if isinstance(constant, str):
                self.texts.add(constant)
            elif isinstance(constant, types.CodeType):
                self.look(constant, aliases)

    def _note_owner(self, owner, name):
        """Note whose a name is: a package's, or of what is not known here."""
        if isinstance(owner, types.ModuleType):
            self.owners.setdefault(name, set()).add(owner.__name__.partition(".")[0])
        else:
            self.unowned.add(name)

    def _readers(self, root):
        """Return the functions of a package that read past Python, as far as this uses them."""
        return sorted(
            name
            for name in self.attributes - {root}
            if re.fullmatch(NATIVE[root], name)
            and (name in self.unowned or root in self.owners.get(name, ()))
        )

    def _import(self, name, listed):
        self.roots.add(name.partition(".")[0])
        return sys.modules.get(name if listed else name.partition(".")[0])

    def _judge(self, owner, name, value, count):
        """Note a clock, a source of random numbers, or a seed."""
        if isinstance(value, types.ModuleType):
            self.roots.add(value.__name__.partition(".")[0])
        elif self._is_clock(value, count):
            self.clocks.add(name)
        elif any(value is function for function in (os.access, os.stat, os.lstat)):
            self.asked.add(name)
        elif owner is None and isinstance(value, types.BuiltinMethodType):
            owner, name = value.__self__, value.__name__
        if name in TODAYS:
            self._note_today(owner, name, value, count)
        if callable(value):
            if getattr(value, "__name__", "") in SEEDS:
                self._note_seed(value, name, count)
            owner = getattr(value, "__self__", None)
            self.is_drawing |= any(one is owner for one in _shared_generators().values())
            if _is_random(value, count):
                self.draws.add(name)

    def _note_today(self, owner, name, function, count):
        """Note a clock of a date's class, of a library, or of what is not known: `self.clock`."""
        if isinstance(owner, type) and issubclass(owner, datetime.date):
            self.clocks.add(f"{owner.__name__}.{name}")
        elif count is not None and _is_not_users(function):
            self.clocks.add(name)

    def _note_seed(self, function, name, count):
        """Note which of the shared generators are seeded: by a library's own function, all."""
        root = (getattr(function, "__module__", None) or "").partition(".")[0]
        if count == 0:
            self.draws.add(name)
        elif getattr(function, "__self__", None) is random._inst:
            self.seeded.add("random")
        elif root == "numpy":
            self.seeded.add("numpy.random")
        elif root != "torch":
            self.seeded |= {"random", "numpy.random"}

    def _is_clock(self, value, count):
        try:
            least = self.functions.get(value, -1)
        except TypeError:  # it has no hash
            return False
        return least > ALWAYS or (count is not None and count < least)

    def is_asking(self):
        """Say whether it may ask this package for a model's answers, or for another run."""
        return "diptych" in self.roots and any(map(ASKING.match, self.attributes))

    def unknown(self):
        """Yield in words what the code reads that cannot be looked at again."""
        for name in sorted(self.clocks):
            yield f"it reads the clock ({name})"
        for name in sorted(self.draws):
            yield f"{UNSEEDED} ({name})"
        if self.attributes & TODAY_READERS and any(map(TODAY.fullmatch, self.texts)):
            yield "it reads the clock ('today' or 'now' in a text)"
        if times := self.attributes & TIMES | self.asked:
            yield f"it asks the system for what changes by itself ({min(times)})"
        if "sqlite3" in self.roots and any(map(ATTACH.search, self.texts)):
            yield "it attaches a database, which is opened past Python"
        for root in sorted(filter(_is_library, self.roots & NATIVE.keys())):
            readers = self._readers(root)
            if readers and not (root == "sqlalchemy" and self._is_sqlite()):
                yield f"it uses {root}, whose compiled code reads past Python ({readers[0]})"

    def _is_sqlite(self):
        return any(text.startswith("sqlite:") for text in self.texts)


def _alias(aliases, step, name, value, imported):
    """Remember a name for what was imported, or for a module or class."""
    if imported is not None:
        aliases[name] = imported
    elif step in STORES and isinstance(value, (types.ModuleType, type)):
        aliases[name] = value


def _is_library(name) -> bool:
    """Say whether a package is installed, and no module of the user's own of that name."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is None or file.startswith(tuple(path for group in _installed() for path in group))


def _is_not_users(function) -> bool:
    """Say whether a function is unknown or a library's; the user's own is looked through."""
    root = (getattr(function, "__module__", None) or "").partition(".")[0]
    return function is None or (root not in ("", "__main__") and _is_library(root))


def _is_random(value, count) -> bool:
    """Say whether a function gives what no seed can repeat."""
    module, name = getattr(value, "__module__", "") or "", getattr(value, "__name__", "")
    if module == "uuid" or value in (os.urandom, getattr(os, "getrandom", None)):
        return name in ("uuid1", "uuid4", "uuid6", "uuid7", "urandom", "getrandom")
    if module == "secrets" or value is random.SystemRandom:
        return True
    return value is random.Random and count == 0


def _shared_generators() -> dict:
    """Return the generators behind the functions of `random` and `numpy.random`."""
    numpy = sys.modules.get("numpy.random.mtrand")
    return {"random": random._inst} | ({"numpy.random": numpy._rand} if numpy is not None else {})


def _count(steps, at):
    """Return how many constants the function loaded at a step is called with, None if others."""
    constants = 0
    for step in steps[at + 1 : at + 6]:
        if step.opname == "LOAD_CONST":
            constants += 1
        elif step.opname in ("CALL", "CALL_FUNCTION", "CALL_METHOD"):
            return constants if step.arg == constants else None
        elif step.opname not in ("PRECALL", "PUSH_NULL"):
            return None
    return None


def _of(owner, name):
    """Return an attribute of a module or class; of anything else, looking could run code."""
    if isinstance(owner, (types.ModuleType, type)):
        with contextlib.suppress(Exception):
            return getattr(owner, name)
    return None


def _flat(words):
    for word in words:
        if isinstance(word, (str, bytes, os.PathLike)):
            yield word
        elif isinstance(word, (list, tuple)):
            yield from _flat(word)


def _is_import(frame) -> bool:
    """Say whether a frame is one of Python's import, or looks for what is installed."""
    return frame is not None and bool(IMPORTING.search(frame.f_code.co_filename))


def _stamp(place):
    try:
        status = os.stat(place)
    except OSError:
        return None, None
    return status.st_size, status.st_mtime_ns


def _kind_of(place) -> str:
    if os.path.isdir(place):
        return "folder"
    return "file" if os.path.lexists(place) else ""


def _numpy_position():
    """Return how far NumPy's shared generator was drawn from, None where there is none."""
    module = sys.modules.get("numpy.random.mtrand")
    if module is None:
        return None
    state = module._rand._bit_generator.state
    return state["state"]["pos"] if state.get("bit_generator") == "MT19937" else None


def _installed():
    """Return the folders of the standard library and those of installed packages."""
    paths = sysconfig.get_paths()
    standard = {paths["stdlib"], paths["platstdlib"], os.path.dirname(os.__file__)}
    packages = {paths["purelib"], paths["platlib"], *site.getsitepackages()}
    if site.ENABLE_USER_SITE:
        packages.add(site.getusersitepackages())
    return tuple(
        tuple({form.rstrip(os.sep) + os.sep for path in group
               for form in (path, os.path.realpath(path))})
        for group in (standard, packages)
    )  # fmt: skip


class _Asking(types.ModuleType):
    """The module `os` as the standard library's questions about files see it.

    A property leaves no frame behind, so that the traceback of an error stays what it is.
    """

    def __init__(self, recorder):
        super().__init__("os")
        vars(self).update(vars(os), _recorder=recorder)

    @property
    def stat(self):
        """Return `os.stat`, and note on what it will be called."""
        self._note(sys._getframe(1))
        return os.stat

    @property
    def lstat(self):
        """Return `os.lstat` in the same way."""
        self._note(sys._getframe(1))
        return os.lstat

    def _note(self, frame):
        if self._recorder.is_on:
            self._recorder.guarded(self._recorder.asked, frame)


def _watch_questions(recorder) -> None:
    for name in ("genericpath", "posixpath", *(n for n in sys.modules if n.startswith("pathlib"))):
        module = sys.modules.get(name)
        if getattr(module, "os", None) is os:
            module.os = _Asking(recorder)


def _watch_variables(recorder) -> None:
    """See which environment variables are read, where their names meet the system's."""

    def encoding(encode):
        @functools.wraps(encode)
        def encodekey(key):
            if recorder.is_on:
                frame = sys._getframe(1)
                if frame.f_code.co_name == "__getitem__":
                    recorder.meet(key, frame.f_back)
            return encode(key)

        return encodekey

    def decoding(decode):
        @functools.wraps(decode)
        def decodekey(key):
            if recorder.is_on:
                recorder.guarded(recorder.read_variables, key)
            return decode(key)

        return decodekey

    for environment in (os.environ, getattr(os, "environb", os.environ)):
        environment.encodekey = encoding(environment.encodekey)
        environment.decodekey = decoding(environment.decodekey)


def _watch_entropy(recorder) -> None:
    """See generators made without a seed, by whomever: NumPy's ask for random bits."""

    def noting(draw):
        @functools.wraps(draw)
        def randbits(*arguments):
            if recorder.is_on:
                recorder.guarded(note)
            return draw(*arguments)

        return randbits

    def note():
        frame = sys._getframe(2)
        while frame is not None:
            if _is_import(frame):  # the shared generator, made when NumPy is loaded
                return
            frame = frame.f_back
        if recorder.responsible()[1] != OURS:
            recorder.note("drawn", f"{UNSEEDED} (a generator of its own)")

    random.SystemRandom.getrandbits = noting(random.SystemRandom.getrandbits)
    for name in ("secrets", "numpy.random.bit_generator"):
        module = sys.modules.get(name)
        if module is not None and hasattr(module, "randbits"):
            module.randbits = noting(module.randbits)


class _Seeker:
    """See which modules are looked for; it finds none."""

    def __init__(self, recorder):
        self._recorder = recorder

    def find_spec(self, name, path=None, target=None):
        """Return None, after a note of the name."""
        if self._recorder.is_on:
            self._recorder.guarded(self._recorder.sought, name, path)


RECORDER = None


def install(path, ignored, package) -> None:
    """Note from now on what this process reads."""
    global RECORDER
    if RECORDER is None:
        RECORDER = Recorder(path, ignored, package)
        _watch_questions(RECORDER)
        _watch_variables(RECORDER)
        _watch_entropy(RECORDER)
        sys.meta_path.insert(0, _Seeker(RECORDER))
        sys.addaudithook(RECORDER.hook())


def finish() -> None:
    """Note no more, and what can be told only at the end."""
    if RECORDER is not None:
        thread = _thread.get_ident()
        RECORDER.busy.add(thread)
        try:
            RECORDER.finish()
        except Exception as error:
            RECORDER.note("unknown", f"its notes could not be completed ({error!r})")
