# Besides: -var qemu_base=FILE -var qemu_base_checksum=sha512:…, see README.md.
qemu_accelerator = "kvm"
