/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The function whose calls are measured, and one beside it that can be patched alone. */
int measured(int value);
int beside(int value);

int measured(int value)
{
	return value + 1;
}

int beside(int value)
{
	return value + 2;
}
