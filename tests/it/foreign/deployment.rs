//! The files in `deploy/`: the unit of systemd, the image, and the compose files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{free_port, is_root};
use crate::once::{project, read, run, text};
use crate::support::{SECRET, eventually};

const UNIT: &str = "deploy/tessera.service";

/// The values of a name in the unit.
fn values(name: &str) -> Vec<String> {
    let unit = read(UNIT);
    let lines = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

#[test]
fn systemd_accepts_the_unit_and_rates_its_exposure_as_low() {
    let folder = tempfile::tempdir().unwrap();
    // The program must exist where the unit says.
    let unit = read(UNIT).replace("/usr/local/bin/tessera", env!("CARGO_BIN_EXE_tessera"));
    let unit = unit.replace("file:/usr/local/share/doc/tessera/README.md", "https://example.com/");
    let path = folder.path().join("tessera.service");
    std::fs::write(&path, unit).unwrap();
    let verified = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path));
    let said = text(&verified.stderr);
    assert!(verified.status.success() && !said.contains("tessera.service:"), "{said}");
    // The exit status is 1 if the exposure is above 1.5 of 10.
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--threshold=15", "--no-pager"]);
    let rated = run(security.arg(&path));
    assert!(rated.status.success(), "{}{}", text(&rated.stdout), text(&rated.stderr));
}

/// The system calls of a group of systemd, such as `@system-service`.
fn group(name: &str) -> BTreeSet<String> {
    let output = run(Command::new("systemd-analyze").args(["syscall-filter", name]));
    let listed = text(&output.stdout);
    let mut calls = BTreeSet::new();
    for line in listed.lines().skip(1).map(str::trim) {
        match line {
            line if line.starts_with('@') => calls.extend(group(line)),
            line if line.is_empty() || line.starts_with('#') => {}
            line => _ = calls.insert(line.to_owned()),
        }
    }
    assert!(!calls.is_empty(), "systemd-analyze does not know {name}: {}", text(&output.stderr));
    calls
}

/// The system calls that the unit allows.
fn allowed() -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for line in values("SystemCallFilter") {
        let (removes, names) = match line.strip_prefix('~') {
            Some(names) => (true, names),
            None => (false, &*line),
        };
        for name in names.split(' ') {
            let calls =
                if name.starts_with('@') { group(name) } else { BTreeSet::from([name.to_owned()]) };
            if removes {
                allowed.retain(|call| !calls.contains(call));
            } else {
                allowed.extend(calls);
            }
        }
    }
    allowed
}

/// Runs a server under strace, from its start over a sign-in and a hangup to its end, and returns the trace.
async fn trace(folder: &Path) -> String {
    let (trace, port, binary) = (folder.join("trace"), free_port(), folder.join("tessera"));
    std::fs::copy(env!("CARGO_BIN_EXE_tessera"), &binary).unwrap();
    let tls = project().join("tests/it/support/tls");
    for name in ["first.crt", "first.key"] {
        std::fs::copy(tls.join(name), folder.join(name)).unwrap();
    }
    let mut command = Command::new("strace");
    // SQLite makes other calls as root.
    if is_root() {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(folder, open).unwrap();
        command.args(["-u", "nobody"]);
    }
    command.args(["-f", "-qq", "-o"]).arg(&trace).arg(&binary).arg("serve").current_dir(folder);
    let socket = folder.join("socket");
    let listen = format!("127.0.0.1:{port},[::1]:{port},unix:{}", socket.display());
    command.env_clear().envs([
        ("APP_SECRET", SECRET),
        ("TLS_CERT", "first.crt"),
        ("LISTEN", &listen),
    ]);
    command.env("TLS_KEY", "first.key").stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = command.spawn().expect("strace is missing: run scripts/test --all");
    comes_and_goes(&format!("https://localhost:{port}")).await;
    let children = format!("/proc/{0}/task/{0}/children", server.id());
    let child = std::fs::read_to_string(children).unwrap();
    let signal = |signal: &str| {
        crate::support::process::signal(child.trim().parse().unwrap(), signal);
    };
    signal("-HUP");
    let reads = || std::fs::read_to_string(&trace).unwrap();
    let is_read_again = async || reads().matches("first.key\", O_RDONLY").count() > 1;
    eventually("the server reads its key again", is_read_again).await;
    signal("-TERM");
    server.wait().unwrap();
    reads()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unit_allows_every_system_call_of_a_server_and_no_memory_is_written_and_executed() {
    let folder = tempfile::tempdir().unwrap();
    let trace = trace(folder.path()).await;
    let name = |line: &str| -> Option<String> {
        let call = line.split_once(' ')?.1.trim_start().split_once('(')?.0;
        let is_name = call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_name.then(|| call.to_owned())
    };
    let used: BTreeSet<_> = trace.lines().filter_map(name).collect();
    assert!(used.contains("accept4") && used.contains("clone3"), "{used:?}");
    let allowed = allowed();
    let refused: Vec<_> = used.difference(&allowed).collect();
    assert!(refused.is_empty(), "the unit does not allow {refused:?}");
    let executed = trace.lines().find(|line| line.contains("PROT_WRITE|PROT_EXEC"));
    assert_eq!(executed, None);
    // Every kind of address is one that the unit allows.
    let families = values("RestrictAddressFamilies").concat();
    for line in trace.lines().filter(|line| line.contains(" socket(")) {
        let family = line.split_once("socket(").unwrap().1.split(',').next().unwrap();
        assert!(families.split(' ').any(|known| known == family), "{line}");
    }
}

/// Waits for a server, registers a user and signs them in.
async fn comes_and_goes(url: &str) {
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
    let ready = format!("{url}/health/ready");
    eventually("the server is ready", async || {
        client.get(&ready).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    let password = "correct horse battery";
    let body = json!({ "email": "first@user.com", "password": password });
    let registered = client.post(format!("{url}/auth/register")).json(&body).send().await.unwrap();
    assert_eq!(registered.status(), 201);
    let form = [("username", "first@user.com"), ("password", password)];
    let login = client.post(format!("{url}/auth/jwt/login")).form(&form).send().await.unwrap();
    assert_eq!(login.status(), 200);
}

/// The store of buildah in a folder of its own, so that nothing of the machine is used or changed.
struct Images(TempDir);

impl Images {
    fn buildah(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("buildah");
        command.args(["--storage-driver", "vfs", "--root"]).arg(self.0.path().join("store"));
        command.arg("--runroot").arg(self.0.path().join("run")).args(arguments);
        run(&mut command)
    }

    fn call(&self, arguments: &[&str]) -> String {
        let output = self.buildah(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }

    /// Makes an image from a folder.
    fn import(&self, folder: &Path, name: &str) {
        let container = self.call(&["from", "scratch"]);
        self.call(&["copy", "--quiet", &container, &folder.display().to_string(), "/"]);
        self.call(&["commit", "--quiet", &container, name]);
    }
}

/// Copies a program of this machine and its libraries into a folder.
fn transplant(program: &Path, folder: &Path) {
    copy_to(program, folder);
    let output = run(Command::new("ldd").arg(program));
    for word in text(&output.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        copy_to(Path::new(word), folder);
    }
}

fn copy_to(file: &Path, folder: &Path) {
    let target = folder.join(file.strip_prefix("/").unwrap());
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    std::fs::copy(file, target).unwrap();
}

/// A folder with a shell and the few programs that the first stage calls, and a `cargo` that takes the binary of the
/// tests for what it built.
fn builder(folder: &Path) {
    for program in ["sh", "mkdir", "cp"] {
        let path = PathBuf::from("/bin").join(program);
        transplant(&path, folder);
    }
    std::fs::create_dir_all(folder.join("tmp")).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_tessera"), folder.join("built")).unwrap();
    let cargo = folder.join("bin/cargo");
    // Without one of the members, the real one would refuse the whole workspace.
    let script = "#!/bin/sh\n[ -f Cargo.toml ] && [ -f src/main.rs ] && [ -f api/src/lib.rs ] || exit 9\n\
        [ \"$*\" = 'build --locked --profile release --bin tessera' ] || exit 8\n\
        while read -r line; do case \"$line\" in members*) members=${line#*[}; break;; esac; done < Cargo.toml\n\
        IFS='\", ]'\n\
        for member in $members; do [ -z \"$member\" ] || [ -f \"$member/Cargo.toml\" ] || exit 7; done\n\
        mkdir -p target/release && cp /built target/release/tessera\n";
    std::fs::write(&cargo, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&cargo, mode).unwrap();
}

/// A folder with the libraries of the binary, and nothing else: no shell, and no file with users.
fn runtime(folder: &Path) {
    let binary = Path::new(env!("CARGO_BIN_EXE_tessera"));
    let output = run(Command::new("ldd").arg(binary));
    for word in text(&output.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        copy_to(Path::new(word), folder);
    }
    std::fs::create_dir_all(folder.join("tmp")).unwrap();
}

/// The server of a container. It is ended at the end of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_is_built_and_its_server_answers_as_another_user_without_a_shell() {
    let images = Images(tempfile::tempdir().unwrap());
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    builder(folders[0].path());
    runtime(folders[1].path());
    images.import(folders[0].path(), "localhost/builder");
    images.import(folders[1].path(), "localhost/runtime");
    let context = project().display().to_string();
    let file = project().join("deploy/Dockerfile").display().to_string();
    images.call(&[
        "build",
        "--isolation=chroot",
        "--format=docker",
        "--pull-never",
        "--build-arg=BUILDER=localhost/builder",
        "--build-arg=RUNTIME=localhost/runtime",
        "--build-arg=PROFILE=release",
        "--tag=localhost/tessera",
        "--file",
        &file,
        &context,
    ]);
    let inspected = images.call(&["inspect", "--type=image", "localhost/tessera"]);
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    let config = &inspected["Docker"]["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/usr/local/bin/tessera"]));
    assert_eq!(config["Cmd"], json!(["serve"]));
    let check = config["Healthcheck"]["Test"].as_array().unwrap().clone();
    assert_eq!(check, *json!(["CMD", "/usr/local/bin/tessera", "health"]).as_array().unwrap());
    assert!(config["Volumes"].get("/var/lib/tessera").is_some(), "{config}");

    let container = images.call(&["from", "--pull-never", "localhost/tessera"]);
    let port = free_port().to_string();
    let (secret, port_variable) = (format!("APP_SECRET={SECRET}"), format!("PORT={port}"));
    images.call(&["config", "--env", &secret, "--env", &port_variable, &container]);
    let inside = ["run", "--isolation=chroot", &container, "--", "/usr/local/bin/tessera"];
    let mut command = Command::new("buildah");
    command.args(["--storage-driver", "vfs", "--root"]).arg(images.0.path().join("store"));
    command.arg("--runroot").arg(images.0.path().join("run")).args(inside).arg("serve");
    let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let server = Running(server);
    comes_and_goes(&format!("http://127.0.0.1:{port}")).await;
    let health = images.buildah(&[&inside[..], &["health"]].concat());
    assert!(health.status.success(), "{}", text(&health.stderr));
    // No shell is there, and the binary cannot be replaced by the user of the server.
    let shell =
        images.buildah(&["run", "--isolation=chroot", &container, "--", "/bin/sh", "-c", "true"]);
    assert!(!shell.status.success());
    drop(server);
    let root = images.call(&["mount", &container]);
    let owner = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(Path::new(&root).join(path)).unwrap().uid()
    };
    assert_eq!(owner("var/lib/tessera"), 65532);
    assert_eq!(owner("usr/local/bin/tessera"), 0);
    images.call(&["umount", &container]);
}

/// Every setting that the program knows.
fn settings() -> BTreeSet<String> {
    let example = read(".env.example");
    let lines = example.lines().filter_map(|line| line.trim_start_matches("# ").split_once('='));
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    lines.map(|(name, _)| name.to_owned()).filter(|name| is_name(name)).collect()
}

/// Resolves a compose file as Docker Compose does, without an engine.
fn resolved(file: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    // The version of Debian 12 does not know the name of a project.
    let text: String = read(file)
        .lines()
        .filter(|line| !line.starts_with("name:"))
        .map(|line| format!("{line}\n"))
        .collect();
    let path = folder.path().join("compose.yaml");
    std::fs::write(&path, text).unwrap();
    let mut command = Command::new("docker-compose");
    let output = run(command.arg("--file").arg(&path).arg("config").current_dir(&folder));
    assert!(output.status.success(), "{file}: {}", text_of(&output));
    serde_yaml::from_slice(&output.stdout).unwrap()
}

fn text_of(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn docker_compose_accepts_the_files_and_they_name_only_settings_that_exist() {
    let known = settings();
    assert!(known.contains("APP_SECRET_FILE") && known.contains("LISTEN"), "{known:?}");
    for (file, servers) in [("deploy/compose.yaml", 1), ("deploy/compose.replicas.yaml", 2)] {
        let compose = resolved(file);
        let services = compose["services"].as_object().unwrap().values();
        let services: Vec<_> = services.filter(|service| service["image"] == "tessera").collect();
        assert_eq!(services.len(), servers, "{file}");
        for service in services {
            for name in service["environment"].as_object().unwrap().keys() {
                assert!(known.contains(name), "{file}: {name} is no setting");
            }
            assert_eq!(service["read_only"], true, "{file}");
            // A network as a proxy would let its other containers choose their address.
            let trusted = &service["environment"]["TRUSTED_PROXIES"];
            let proxy = &compose["services"]["proxy"]["networks"]["front"]["ipv4_address"];
            assert!(servers == 1 || proxy.is_string() && trusted == proxy, "{trusted} {proxy}");
        }
    }
}

#[test]
fn the_unit_and_the_dockerfile_name_only_settings_that_exist() {
    let known = settings();
    let mut seen = Vec::new();
    let lines =
        [(UNIT, "Environment="), ("deploy/Dockerfile", "ENV "), ("deploy/Dockerfile", "    ")];
    for (file, before) in lines {
        let text = read(file);
        let values = text.lines().filter_map(|line| line.strip_prefix(before));
        for (name, _) in values.filter_map(|line| line.split_once('=')) {
            let is_name = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            assert!(!is_name || known.contains(name), "{file}: {name} is no setting");
            seen.extend(is_name.then(|| name.to_owned()));
        }
    }
    seen.sort();
    assert_eq!(seen, ["APP_SECRET_FILE", "DATABASE_URL", "DATABASE_URL", "HOST"]);
}

/// Caddy of the replicas' file reads its configuration.
#[test]
fn caddy_accepts_the_configuration_of_the_replicas() {
    let mut command = Command::new("/usr/bin/caddy");
    command.args(["adapt", "--adapter", "caddyfile", "--config", "deploy/Caddyfile"]);
    let output = run(command.current_dir(project()).env("PUBLIC_HOST", "id.example.com"));
    let adapted = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in ["id.example.com", "one:8000", "two:8000", "/health/ready"] {
        assert!(adapted.contains(part), "{part}: {adapted}");
    }
}
