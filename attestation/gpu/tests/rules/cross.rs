//! Signed facts against the library's: made up, and out of real captures of `nvidia-smi`.

use std::path::PathBuf;

use assay_gpu::device::{Architecture, DeviceFacts, Pdi};
use assay_gpu::{GpuIdentity, cross_check};

const RULES: [&str; 6] = [
    "gpu.report.driver",
    "gpu.report.vbios",
    "gpu.report.board-part",
    "gpu.report.inforom",
    "gpu.report.pdi",
    "gpu.report.architecture",
];

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn device() -> DeviceFacts {
    DeviceFacts {
        architecture: Architecture::Hopper,
        vbios: text("96.00.9F.00.01"),
        driver: text("550.90.07"),
        project: text("G520"),
        project_sku: text("0200"),
        chip_sku: text("885"),
        chip_id: None,
        model: None,
        device_serial: None,
        pdi: Some(Pdi(0x1d48_0fe5_e872_7443)),
        switch_pdis: vec![],
        gpu_pdis: vec![],
        request_nonce: None,
        protected_pcie: None,
        feature_flag: None,
        simulated: false,
    }
}

fn gpu() -> GpuIdentity {
    GpuIdentity {
        index: 0,
        uuid: "GPU-0".into(),
        name: "NVIDIA H100 80GB HBM3".into(),
        memory_mib: 81_559,
        pci_bus_id: "00000000:4B:00.0".into(),
        driver: "550.90.07".into(),
        simulated: false,
        vbios: text("96.00.9f.00.01"),
        serial: None,
        pdi: Some(0x1d48_0fe5_e872_7443),
        power_limit_mw: None,
        board_part_number: text("692-2G520-0200-000"),
        inforom: text("G520.0200.00.05"),
    }
}

fn broken(gpu: &GpuIdentity) -> Vec<&'static str> {
    cross_check(&device(), gpu).faults.iter().map(assay_gpu::ReportFault::id).collect()
}

#[test]
fn an_honest_library_breaks_no_rule() {
    let outcome = cross_check(&device(), &gpu());
    assert_eq!((outcome.faults.len(), outcome.not_compared.len()), (0, 0), "{outcome:?}");
    assert_eq!(outcome.equal, RULES);
}

#[test]
fn one_lie_breaks_one_rule() {
    let lies = [
        GpuIdentity { driver: "550.90.08".into(), ..gpu() },
        GpuIdentity { vbios: text("96.00.9F.00.02"), ..gpu() },
        GpuIdentity { board_part_number: text("692-2G525-0200-000"), ..gpu() },
        GpuIdentity { inforom: text("G520.0201.00.05"), ..gpu() },
        GpuIdentity { pdi: Some(0x1d48_0fe5_e872_7442), ..gpu() },
        GpuIdentity { name: "NVIDIA B200".into(), ..gpu() },
    ];
    for (lie, rule) in lies.iter().zip(RULES) {
        assert_eq!(broken(lie), [rule]);
        let outcome = cross_check(&device(), lie);
        assert_eq!((outcome.equal.len(), outcome.not_compared.len()), (5, 0));
        let message = outcome.faults[0].to_string();
        assert!(message.contains("the library says"), "{message}");
    }
    let other_sku = GpuIdentity { board_part_number: text("692-2G520-0220-000"), ..gpu() };
    assert_eq!(broken(&other_sku), ["gpu.report.board-part"]);
    let customers = |part: &str| GpuIdentity { board_part_number: text(part), ..gpu() };
    assert!(broken(&customers("965-2G520-A800-000")).is_empty());
    assert_eq!(broken(&customers("965-2G525-A800-000")), ["gpu.report.board-part"]);
    assert_eq!(broken(&customers("699-2G520-A800-000")), ["gpu.report.board-part"]);
    let other_image = GpuIdentity { inforom: text("G525.0200.00.05"), ..gpu() };
    assert_eq!(broken(&other_image), ["gpu.report.inforom"]);
}

#[test]
fn what_one_side_lacks_is_not_compared() {
    let mute = GpuIdentity {
        driver: String::new(),
        vbios: text("N/A"),
        board_part_number: None,
        inforom: text(""),
        pdi: None,
        name: "Lab GPU".into(),
        ..gpu()
    };
    let outcome = cross_check(&device(), &mute);
    assert_eq!((outcome.faults.len(), outcome.equal.len()), (0, 0));
    assert_eq!(outcome.not_compared, RULES);
    let silent =
        DeviceFacts { vbios: None, driver: None, project: None, project_sku: None, pdi: None, ..device() };
    assert_eq!(cross_check(&silent, &gpu()).not_compared, RULES[..5]);
    let half = DeviceFacts { project_sku: None, ..device() };
    assert_eq!(cross_check(&half, &gpu()).not_compared, RULES[2..4]);
}

#[test]
fn products_are_of_the_family_that_their_name_says() {
    let family = |name: &str, architecture| {
        let device = DeviceFacts { architecture, ..device() };
        let outcome = cross_check(&device, &GpuIdentity { name: name.into(), ..gpu() });
        let rule = "gpu.report.architecture";
        match (outcome.equal.contains(&rule), outcome.not_compared.contains(&rule)) {
            (equal, false) => Some(equal),
            _ => None,
        }
    };
    for name in ["NVIDIA H100 PCIe", "NVIDIA H200", "NVIDIA H20-3e", "NVIDIA H800", "NVIDIA GH200 480GB"] {
        assert_eq!(family(name, Architecture::Hopper), Some(true), "{name}");
        assert_eq!(family(name, Architecture::Blackwell), Some(false), "{name}");
    }
    for name in ["NVIDIA B200", "nvidia gb200", "NVIDIA RTX PRO 6000 Blackwell Server Edition"] {
        assert_eq!(family(name, Architecture::Blackwell), Some(true), "{name}");
        assert_eq!(family(name, Architecture::Hopper), Some(false), "{name}");
    }
    assert_eq!(family("NVIDIA A100-SXM4-80GB", Architecture::Hopper), None);
    assert_eq!(family("", Architecture::Hopper), None);
}

#[test]
fn an_entry_is_tied_to_its_report_by_driver_vbios_and_identifier() {
    let tied = |gpu: &GpuIdentity| cross_check(&device(), gpu).ties(gpu);
    let least =
        GpuIdentity { board_part_number: None, inforom: None, pdi: None, name: String::new(), ..gpu() };
    assert!(tied(&gpu()) && tied(&least));
    assert!(!tied(&GpuIdentity { driver: String::new(), ..gpu() }));
    assert!(!tied(&GpuIdentity { vbios: None, ..gpu() }));
    assert!(!tied(&GpuIdentity { pdi: Some(1), ..gpu() }));
    let nameless = DeviceFacts { pdi: None, ..device() };
    assert!(!cross_check(&nameless, &gpu()).ties(&gpu()));
}

#[test]
fn part_numbers_of_another_form_are_not_compared() {
    let part = |part: &str| cross_check(&device(), &GpuIdentity { board_part_number: text(part), ..gpu() });
    for other in [
        "692-2G520-0200",
        "692-2G520-0200-000-1",
        "692-1G520-0200-000",
        "692-2-0200-000",
        "692-2G520--000",
        "692-2G5 0-0200-000",
        "G520",
    ] {
        assert_eq!(part(other).not_compared, ["gpu.report.board-part"], "{other}");
    }
    let image = |image: &str| cross_check(&device(), &GpuIdentity { inforom: text(image), ..gpu() });
    for other in ["G520.0200.00", "G520.0200.00.05.1", ".0200.00.05", "G520..00.05", "G520"] {
        assert_eq!(image(other).not_compared, ["gpu.report.inforom"], "{other}");
    }
}

/// The text of the first element of this name.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

/// In every real capture part number and InfoROM image name one project and SKU.
#[test]
fn real_boards_name_themselves_twice() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let data = std::env::var_os("ASSAY_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let Ok(folder) = std::fs::read_dir(data.join("gpu/nvidia-smi")) else {
        println!("SKIPPED: no test data (set ASSAY_DATA)");
        return;
    };
    let mut seen = 0;
    for file in folder {
        let path = file.unwrap().path();
        let xml = std::fs::read_to_string(&path).unwrap();
        let driver = element(&xml, "driver_version").unwrap();
        for entry in xml.split("<gpu id=").skip(1) {
            let (Some(part), Some(image)) =
                (element(entry, "board_part_number"), element(entry, "img_version"))
            else {
                continue;
            };
            let pdi =
                element(entry, "pdi").and_then(|pdi| u64::from_str_radix(pdi.strip_prefix("0x")?, 16).ok());
            let library = GpuIdentity {
                driver: driver.into(),
                vbios: element(entry, "vbios_version").map(str::to_owned),
                board_part_number: text(part),
                inforom: text(image),
                pdi,
                ..gpu()
            };
            let mut image = image.split('.');
            let signed = DeviceFacts {
                driver: text(driver),
                vbios: library.vbios.clone(),
                project: image.next().map(str::to_owned),
                project_sku: image.next().map(str::to_owned),
                pdi: pdi.map(Pdi),
                ..device()
            };
            let outcome = cross_check(&signed, &library);
            assert_eq!(outcome.faults, [], "{}", path.display());
            assert!(outcome.equal.contains(&"gpu.report.board-part"), "{}: {part}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 0, "no capture in the data");
}
