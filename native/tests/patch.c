/* SPDX-License-Identifier: LGPL-2.1-or-later */
int new_answer(int question);
int newest_answer(int question);
int new_tail_of(int question);

int new_answer(int question)
{
	return question + 1000;
}

int newest_answer(int question)
{
	return question + 2000;
}

int new_tail_of(int question)
{
	return question + 5000;
}
