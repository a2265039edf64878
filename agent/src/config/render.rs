//! The file with all its comments, for `--print-config`.

use std::{
    fmt::{Display, Write as _},
    path::Path,
};

use super::{Config, ImageSettings, SandboxSettings, Validator};

impl Config {
    /// This configuration as a commented file; reading it back gives an equal one.
    #[must_use]
    pub fn render(&self) -> String {
        let mut page = Page(String::new());
        page.comment("Assay's agent. Every key may be left out; what is written here is what is in force.");
        page.comment("Unknown keys are refused. Check a file with: assay-agent --config FILE --print-config");
        node(&mut page, self);
        network(&mut page, self);
        validators(&mut page, &self.validator);
        tpm_and_boot(&mut page, self);
        cadence_and_gpu(&mut page, self);
        sandbox(&mut page, self);
        page.0
    }
}

fn node(page: &mut Page, config: &Config) {
    page.table("[node]");
    page.comment("Ledger, image layers and job outputs. Survives a reboot.");
    page.path("state_dir", &config.node.state_dir);
    page.comment("Sockets. At most 90 bytes long.");
    page.path("runtime_dir", &config.node.runtime_dir);
    page.comment(
        "Whom the node belongs to: the public half that `assay-agent owner new` prints. It goes into",
    );
    page.comment("the enrolment; without it the node belongs to nobody.");
    let owner = config.node.owner.map(|key| format!("{key:?}"));
    page.optional_text("owner", owner.as_deref(), "(64 digits)");
    page.comment("When the node had another owner: that owner's word, from `assay-agent owner transfer`.");
    page.optional_path("transfer", config.node.transfer.as_deref());
}

fn network(page: &mut Page, config: &Config) {
    page.table("[network]");
    page.comment("The network's id, as in its validators' trust files: letters, digits, '-', '_', '.'.");
    page.text("id", &config.network.id);
    page.comment(
        "Of a thousand beacon slots, how many call for an anchor: 1 to 1000, as in the trust files.",
    );
    page.value("anchor_per_mille", config.network.anchor_per_mille);
}

fn validators(page: &mut Page, all: &[Validator]) {
    page.0.push('\n');
    page.comment("Validators, at most 16; without one the node keeps its ledger and tells nobody.");
    page.comment("`assay-validator init` prints both keys.");
    if all.is_empty() {
        page.comment("[[validator]]");
        page.comment("name = \"first\"");
        page.comment("url = \"https://validator.example:8443\"");
        page.comment("key = \"(64 digits)\"         its signing key");
        page.comment("tls_spki = \"(64 digits)\"    SHA-256 of its TLS certificate's SubjectPublicKeyInfo");
    }
    for one in all {
        page.0.push_str("[[validator]]\n");
        page.text("name", &one.name);
        page.text("url", &one.url);
        page.comment("Its signing key.");
        page.text("key", &format!("{:?}", one.key));
        page.comment("SHA-256 of its TLS certificate's SubjectPublicKeyInfo.");
        page.text("tls_spki", &one.tls_spki.to_string());
    }
}

fn tpm_and_boot(page: &mut Page, config: &Config) {
    page.table("[tpm]");
    page.comment("A device path, or swtpm:host=ADDRESS,port=PORT for a software TPM.");
    page.text("backend", &config.tpm.backend);
    page.comment("True with a software TPM. It goes into the evidence, and the identity axis stays at I0.");
    page.value("simulated", config.tpm.simulated);
    page.comment("The endorsement key's certificate, DER or PEM, where the TPM does not carry it.");
    page.optional_path("ek_certificate", config.tpm.ek_certificate.as_deref());
    page.comment(
        "Whether a firmware TPM's certificate (Intel, AMD) is fetched from its maker, where the TPM",
    );
    page.comment("does not carry it and no file has it. The maker learns a hash of the endorsement key.");
    page.value("ek_certificate_url", config.tpm.ek_certificate_url);
    page.comment("Another service in the maker's place, such as a mirror.");
    let service = config.tpm.ek_certificate_service.as_deref();
    page.optional_text("ek_certificate_service", service, "https://mirror.example/ek/");
    page.table("[boot]");
    page.comment("The firmware's measurement log.");
    page.path("firmware_log", &config.boot.firmware_log);
    page.comment("True when a generator wrote the firmware log, for a simulated TPM only. It goes into the");
    page.comment("evidence, and the platform axis stays at P0.");
    page.value("simulated", config.boot.simulated);
    page.comment("systemd's measurement log. A missing file is fine.");
    page.path("userspace_log", &config.boot.userspace_log);
    page.comment(
        "The kernel's IMA log, for example /sys/kernel/security/ima/binary_runtime_measurements. It is",
    );
    page.comment("sent with a quote over PCR 10, and left out where all logs together exceed 3 MiB.");
    page.optional_path("ima_log", config.boot.ima_log.as_deref());
}

fn cadence_and_gpu(page: &mut Page, config: &Config) {
    page.table("[cadence]");
    page.comment("Milliseconds from one beat to the next: 100 to 600000.");
    page.value("beat_ms", config.cadence.beat_ms);
    page.comment("Milliseconds from one GPU sample to the next: 10 to 60000, at most beat_ms.");
    page.value("sample_ms", config.cadence.sample_ms);
    page.table("[gpu]");
    page.comment("Whether GPUs are looked for.");
    page.value("enabled", config.gpu.enabled);
    page.comment("NVML: a file name that the loader finds, or an absolute path.");
    page.text("library", &config.gpu.library);
}

fn sandbox(page: &mut Page, config: &Config) {
    page.table("[sandbox]");
    page.comment("The jailer. Without this key: beside assay-agent, then in /usr/lib/assay.");
    page.optional_path("jailer", config.sandbox.jailer.as_deref());
    page.comment("First host user and group id for jobs, 65536 for each that runs: 65536 to 3000000000.");
    page.comment("Keep it clear of /etc/subuid and /etc/subgid.");
    page.value("id_base", config.sandbox.id_base);
    page.comment("Processors that no job may use, such as \"0-1,4\"; empty for none.");
    page.text("reserved_cpus", &config.sandbox.reserved_cpus);
    kept(page, &config.sandbox);
    images(page, &config.sandbox.images);
}

fn kept(page: &mut Page, sandbox: &SandboxSettings) {
    page.comment(
        "How many ended jobs keep their outputs and logs: 1 to 65536. The oldest go first; receipts stay in",
    );
    page.comment("the ledger. `assay-agent job remove JOB` removes them earlier.");
    page.value("jobs_kept", sandbox.jobs_kept);
    page.comment(
        "GiB that those may take together: 1 to 1048576. The job that ended last stays in any case.",
    );
    page.value("jobs_gib", sandbox.jobs_gib);
    page.comment("How many checkpoints are kept for a job's next run: 1 to 4096. What is out of use longest goes first.");
    page.value("checkpoints_kept", sandbox.checkpoints_kept);
    page.comment(
        "GiB that checkpoints may take together: 1 to 1048576. A running job's counts with all that it may",
    );
    page.comment("hold, and a job that asks for more than is left is refused.");
    page.value("checkpoints_gib", sandbox.checkpoints_gib);
}

fn images(page: &mut Page, images: &ImageSettings) {
    page.table("[sandbox.images]");
    page.comment(
        "GiB that unpacked layers may take together: 1 to 1048576. What is out of use longest goes first.",
    );
    page.value("disk_gib", images.disk_gib);
    page.comment("MiB of the disk that no layer may take: 16 to 1073741824.");
    page.value("reserve_mib", images.reserve_mib);
    page.comment("GiB that one layer may unpack to: 1 to 16384.");
    page.value("layer_gib", images.layer_gib);
    page.comment("Minutes for one image, fetched and unpacked: 1 to 10080.");
    page.value("minutes", images.minutes);
    page.comment(
        "Whether a job may name an image in a registry by a tag alone. A tag can be moved; a digest cannot.",
    );
    page.value("tags", images.tags);
    page.comment(
        "Whether registries may be at private addresses, this machine's own and metadata services' included.",
    );
    page.value("allow_private", images.allow_private);
    page.comment("Registries that are reached without TLS, wherever they are: \"127.0.0.1:5000\".");
    let insecure = images.insecure_registries.iter().cloned().map(toml::Value::String).collect();
    page.value("insecure_registries", toml::Value::Array(insecure));
    page.comment("Certificates of the authorities that registries are believed by, PEM. Without this key the system's.");
    page.optional_path("ca_file", images.ca_file.as_deref());
    page.comment("Credentials for registries: {\"auths\": {\"HOST[:PORT]\": {\"auth\": \"base64 of user:password\"}}}.");
    page.optional_path("credentials", images.credentials.as_deref());
}

/// The text so far. Writing to a `String` cannot fail.
struct Page(String);

impl Page {
    fn table(&mut self, header: &str) {
        let _ = writeln!(self.0, "\n{header}");
    }

    fn comment(&mut self, text: &str) {
        let _ = writeln!(self.0, "# {text}");
    }

    fn value(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn text(&mut self, key: &str, text: &str) {
        self.value(key, toml::Value::String(text.to_owned()));
    }

    /// Paths came out of a UTF-8 file or a default, so nothing is lost here.
    fn path(&mut self, key: &str, path: &Path) {
        self.text(key, &path.to_string_lossy());
    }

    fn optional_text(&mut self, key: &str, text: Option<&str>, example: &str) {
        match text {
            Some(text) => self.text(key, text),
            None => self.comment(&format!("{key} = \"{example}\"")),
        }
    }

    fn optional_path(&mut self, key: &str, path: Option<&Path>) {
        match path {
            Some(path) => self.path(key, path),
            None => self.comment(&format!("{key} = \"/path\"")),
        }
    }
}
