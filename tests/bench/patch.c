/* SPDX-License-Identifier: GPL-3.0-or-later */
int new_measured(int value);
int new_beside(int value);

int new_measured(int value)
{
	return value + 10;
}

int new_beside(int value)
{
	return value + 20;
}
