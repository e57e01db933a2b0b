"""What a conversion returns (`converted`): an instance of the original's class (`likeness`), with its hooks (`hooks`, by
`calls`), its further methods (`methods`), its modules in their places (`places`), where its outputs lie
(`output_lattice`), and a sentence for an input that it cannot take (`door`)."""
